#include "moe/gating/transport.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "moe/core/random.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace transport_test {

using detail::Transport;

Routing<double> routing_of(const Matrix<double>& logits_TE) {
  const Matrix<double> x_TD = Matrix<double>::Zero(logits_TE.rows(), 1);
  Routing<double> routing;
  routing.reset(x_TD, logits_TE.cols());
  routing.logits_TE = logits_TE;
  return routing;
}

Matrix<double> plan(const Transport& transport, Routing<double>& routing) {
  transport.balance(routing);
  Matrix<double> p_TE = Matrix<double>::Zero(routing.tokens(), routing.experts());
  for (Index t = 0; t < routing.tokens(); ++t)
    if (transport.takes_part(routing, t))
      p_TE.row(t) = (transport.distance(routing, t) + routing.workspace.expert_E.transpose()).array().exp() *
                    std::exp(routing.workspace.token_T(t));
  return p_TE;
}

TEST(Transport, RowsAndColumnsHaveEqualShares) {
  std::mt19937_64 rng(1);
  for (const double temperature : {1., 0.5}) {
    Routing<double> routing = routing_of(random_matrix<double>(6, 3, rng));
    const Matrix<double> p_TE = plan({1e-12, 0, 1000, temperature}, routing);
    for (Index t = 0; t < 6; ++t) EXPECT_NEAR(p_TE.row(t).sum(), 1. / 6, 1e-8);
    for (Index e = 0; e < 3; ++e) EXPECT_NEAR(p_TE.col(e).sum(), 1. / 3, 1e-8);
  }
}

TEST(Transport, ATokenWithUnusableLogitsTakesNoPartAndChangesNoOther) {
  const double nan = support::nan_of<double>, infinity = support::infinity_of<double>;
  const Matrix<double> usable{{1, 0}, {0, 2}};
  Routing<double> alone = routing_of(usable);
  const Matrix<double> expected = plan({1e-6, 1e-8, 100, 1}, alone);
  for (const Matrix<double>& row :
       {Matrix<double>{{nan, 0}}, Matrix<double>{{infinity, 0}}, Matrix<double>{{-infinity, -infinity}}}) {
    Matrix<double> z(3, 2);
    z << usable, row;
    Routing<double> routing = routing_of(z);
    const Matrix<double> p_TE = plan({1e-6, 1e-8, 100, 1}, routing);
    EXPECT_FALSE(Transport::takes_part(routing, 2));
    EXPECT_EQ(p_TE.topRows(2), expected);
    EXPECT_TRUE((p_TE.row(2).array() == 0).all());
  }
}

}  // namespace transport_test
}  // namespace moe
