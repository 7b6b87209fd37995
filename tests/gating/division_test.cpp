#include "moe/gating/division.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gating/route.hpp"

namespace moe {
namespace division_test {

using detail::Division;

// One token that chose two experts with the scores 3 and 4, and one with the score 2; the weights are their logarithms.
Routing<double> chosen() {
  Routing<double> routing;
  routing.logits_TE.setZero(2, 2);
  routing.choices = {{0, 0, std::log(3.0)}, {1, 1, std::log(2.0)}, {0, 1, std::log(4.0), 1}};
  return routing;
}

std::vector<double> weights(const Division& division) {
  Routing<double> routing = chosen();
  division.divide(routing);
  return gating::weights_of(routing);
}

void expect_weights(const Division& division, const std::vector<double>& expected) {
  const auto own = weights(division);
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(own[i], expected[i], 1e-15) << "choice " << i;
}

TEST(Division, BySumNormEpsilonOrFloor) {
  expect_weights({}, {3. / 7, 1, 4. / 7});
  expect_weights({.scale = 2.5}, {7.5 / 7, 2.5, 10. / 7});
  expect_weights({.q = 2}, {0.6, 1, 0.8});
  expect_weights({.epsilon = 1}, {3. / 8, 2. / 3, 0.5});
  expect_weights({.epsilon = Epsilon::floor(4)}, {3. / 7, 0.5, 4. / 7});
}

TEST(Division, APlainNumberIsAnEpsilonThatIsAdded) {
  constexpr Epsilon added = 1e-9, floor = Epsilon::floor(1e-9);
  static_assert(!added.is_floor && floor.is_floor && added.value == floor.value && added != floor);
  static_assert(Epsilon{} == Epsilon(0));
}

TEST(Division, ItsGradientIsThatOfDifferences) {
  const std::vector<double> dweights{1, -2, 0.5};
  for (const Division& division : {Division{}, Division{.scale = 2.5}, Division{.q = 3}, Division{.epsilon = 1, .q = 2},
                                   Division{.epsilon = Epsilon::floor(4), .scale = 2}}) {
    Routing<double> routing = chosen(), drouting;
    division.divide(routing);
    drouting.logits_TE.setZero(2, 2);
    drouting.choices = routing.choices;
    for (std::size_t i = 0; i < 3; ++i) drouting.choices[i].weight = dweights[i];
    Matrix<double> dlog_TE = Matrix<double>::Zero(2, 2);
    Vector<double> sum_T = Vector<double>::Zero(2);
    division.backward(routing, drouting, dlog_TE.data(), sum_T.data());
    EXPECT_EQ(sum_T, dlog_TE.rowwise().sum());
    const double step = 1e-6;
    for (std::size_t i = 0; i < 3; ++i) {
      const auto loss = [&](double moved) {
        Routing<double> other = chosen();
        other.choices[i].weight += moved;
        division.divide(other);
        double sum = 0;
        for (std::size_t j = 0; j < 3; ++j) sum += dweights[j] * other.choices[j].weight;
        return sum;
      };
      const Choice<double>& c = routing.choices[i];
      EXPECT_NEAR(dlog_TE(c.token, c.expert), (loss(step) - loss(-step)) / (2 * step), 1e-8) << "choice " << i;
    }
  }
}

}  // namespace division_test
}  // namespace moe
