// The adaptive mixture of local experts of 1991: dense, linear experts, three objectives on the experts' own outputs.
#include <cstdint>
#include <string>
#include <vector>

#include "golden.hpp"
#include "moe/gating/softmax.hpp"
#include "moe/objective/mixture.hpp"

namespace local_experts_test {

using namespace golden;
using Mixture = Layer<moe::Router<double>, moe::Softmax, moe::Linear<double>>;

std::vector<moe::Linear<double>> linear_experts_of(Fixture& fixture) {
  std::vector<moe::Linear<double>> experts;
  for (std::uint64_t e = 0; e < static_cast<std::uint64_t>(fixture.size("E")); ++e)
    experts.push_back({fixture.matrix<double>("experts.w", {e}), fixture.matrix<double>("experts.b", {e})});
  return experts;
}

/// A row for each token: of every expert's part of `rows_N`, expert after expert.
Matrix<double> by_token(const Mixture::Tape& tape, const Matrix<double>& rows_N) {
  const Index width = rows_N.cols();
  Matrix<double> by_token(tape.plan.tokens(), tape.plan.experts() * width);
  for (Index e = 0; e < tape.plan.experts(); ++e)
    for (Index slot = tape.plan.begin_of(e); slot < tape.plan.begin_of(e + 1); ++slot)
      by_token.row(tape.plan.token[at(slot)]).segment(e * width, width) = rows_N.row(slot);
  return by_token;
}

/// The loss and its gradients; and token by token, since it is a sum over tokens.
template <class Loss>
void expect_loss(Fixture& fixture, const std::string& name, const Mixture& mixture, const Loss& loss) {
  const Matrix<double> x = fixture.matrix<double>("x"), target = fixture.matrix<double>("target");
  Mixture::Tape tape;
  std::vector<double> of_token;
  for (Index t = 0; t < x.rows(); ++t) {
    mixture.forward(x.row(t), tape);
    of_token.push_back(loss.template value<double>(tape.plan, tape.y_NO, target.row(t)));
  }
  mixture.forward(x, tape);
  Matrix<double> dx(x.rows(), x.cols()), dy_NO = Matrix<double>::Zero(tape.y_NO.rows(), tape.y_NO.cols());
  Vector<double> dweight_N = Vector<double>::Zero(tape.plan.slots());
  Mixture gradient = moe::zeros_like(mixture);
  loss.template backward<double>(tape.plan, tape.y_NO, target, 1, dy_NO, dweight_N);
  mixture.backward_from_slots(x, dy_NO, dweight_N, tape, dx, gradient);
  Values values{{"aux." + name, {loss.template value<double>(tape.plan, tape.y_NO, target)}},
                {name + ".per_token", of_token},
                {"aux." + name + ".grad.x", flat(dx)}};
  add_parameters(gradient, "aux." + name + ".grad.", values);
  fixture.expect(values);
}

class LocalExperts : public testing::TestWithParam<const char*> {};

TEST_P(LocalExperts, Fixture) {
  Fixture fixture(GetParam());
  const Mixture mixture{router_of<double>(fixture), moe::Softmax{}, linear_experts_of(fixture)};
  const moe::MixtureNegativeLogLikelihood likelihood{.variance = fixture.number("sigma2")};
  Mixture::Tape tape;
  const Matrix<double> x = fixture.matrix<double>("x"), target = fixture.matrix<double>("target");
  Values values{{"y", flat(mixture.forward(x, tape))}};
  values.merge(values_of(tape.routing));
  values["expert_out"] = flat(by_token(tape, tape.y_NO));
  values["posterior"] = flat(by_token(tape, likelihood.responsibilities<double>(tape.plan, tape.y_NO, target)));
  fixture.expect(values);

  expect_loss(fixture, "cooperative", mixture, moe::CooperativeLoss{});
  expect_loss(fixture, "competitive", mixture, moe::CompetitiveLoss{});
  expect_loss(fixture, "nll", mixture, likelihood);
  fixture.finish();
}

INSTANTIATE_TEST_SUITE_P(LocalExperts, LocalExperts,
                         testing::Values("local_experts_1991", "local_experts_1991_far_targets"));

}  // namespace local_experts_test
