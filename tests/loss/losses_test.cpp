#include "moe/loss/losses.hpp"

#include <gtest/gtest.h>

#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "loss/decisions.hpp"
#include "moe/moe.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace losses_test {

using support::expect_invalid;

/// value = the sum of the logits.
struct Sum {
  double coefficient = 1;
  static constexpr std::string_view name() { return "sum"; }
  template <class S>
  S value(const Routing<S>& routing) const {
    return routing.logits_TE.sum();
  }
  template <class S>
  void backward(const Routing<S>&, S scale, Routing<S>& drouting) const {
    drouting.logits_TE.array() += scale;
  }
};

/// value = 7.
struct Seven {
  double coefficient = 1;
  static constexpr std::string_view name() { return "seven"; }
  template <class S>
  S value(const Routing<S>&) const {
    return 7;
  }
  template <class S>
  void backward(const Routing<S>&, S, Routing<S>&) const {}
};

Routing<double> example() {
  auto routing = loss::decision(Matrix<double>::Zero(1, 2), {});
  routing.logits_TE << 1, 2;
  return routing;
}

const Losses losses{Sum{.coefficient = 0.5}, Seven{.coefficient = 2}};

TEST(Losses, TheValueIsTheSumOfTheScaledLosses) { EXPECT_EQ(losses.value(example()), 15.5); }

TEST(Losses, TheReportNamesEachWithoutItsCoefficient) {
  const auto report = losses.report(example());
  ASSERT_EQ(report.size(), 2u);
  EXPECT_EQ(report[0].name, "sum");
  EXPECT_EQ(report[0].coefficient, 0.5);
  EXPECT_EQ(report[0].value, 3);
  EXPECT_EQ(report[1].name, "seven");
  EXPECT_EQ(report[1].value, 7);
}

TEST(Losses, TheGradientIsScaledByBothFactors) {
  EXPECT_EQ(loss::gradient_of(losses, example(), 4).logits_TE, (Matrix<double>{{2, 2}}));
}

// Nor may it refuse a routing that it does not suit.
TEST(Losses, ALossWithCoefficientZeroIsNotComputed) {
  struct Refusing {
    double coefficient = 0;
    static constexpr std::string_view name() { return "refusing"; }
    double value(const Routing<double>&) const { throw std::logic_error("computed"); }
    void backward(const Routing<double>&, double, Routing<double>&) const { throw std::logic_error("computed"); }
  };
  Routing<double> drouting;
  EXPECT_EQ(Losses{Refusing{}}.value(example()), 0);
  EXPECT_NO_THROW(Losses{Refusing{}}.backward(example(), 1.0, drouting));
  EXPECT_THROW(Losses{Refusing{1.0}}.value(example()), std::logic_error);
}

TEST(Losses, NoneAreWorthZero) {
  EXPECT_EQ(Losses<>{}.value(example()), 0);
  EXPECT_TRUE(Losses<>{}.report(example()).empty());
  EXPECT_EQ(loss::gradient_of(Losses<>{}, example()).logits_TE, (Matrix<double>{{0, 0}}));
}

TEST(Losses, ACoefficientThatIsNotFiniteIsRefused) {
  for (const double coefficient : {support::nan_of<double>, support::infinity_of<double>}) {
    const Losses wrong{Seven{}, Sum{.coefficient = coefficient}};
    expect_invalid([&] { wrong.check(); }, {"sum has coefficient", std::to_string(coefficient), "finite"});
    expect_invalid([&] { wrong.value(example()); }, {"coefficient"});
    expect_invalid([&] { wrong.report(example()); }, {"coefficient"});
    expect_invalid([&] { loss::gradient_of(wrong, example()); }, {"coefficient"});
  }
  EXPECT_NO_THROW((Losses{Sum{.coefficient = -1}}.check()));  // a sign is the user's business
}

TEST(Losses, AnEpsilonThatIsNegativeOrNotFiniteIsRefused) {
  expect_invalid([] { Losses{ImportanceLoss{.epsilon = -0.5}}.check(); }, {"importance has epsilon -0.5", "0 or more"});
  expect_invalid([] { Losses{LoadLoss{.epsilon = support::nan_of<double>}}.check(); }, {"load has epsilon"});
  EXPECT_NO_THROW((Losses{ImportanceLoss{.epsilon = 0}}.check()));
}

/// Refuses more than two experts, and a gate of more than one choice.
struct Choosy : Seven {
  template <class G>
  void check(Index experts, const G& gate) const {
    require(experts <= 2 && gate.k <= 1, "Choosy: ", experts, " experts, ", gate.k, " choices");
  }
};

TEST(Losses, ALossIsAskedWhetherItSuitsTheExpertsAndTheGate) {
  const Losses asked{Sum{}, Choosy{}, DeviceBalanceLoss{.devices = 2}};
  EXPECT_NO_THROW(asked.check(2, TopK{.k = 1}));
  expect_invalid([&] { asked.check(4, TopK{.k = 1}); }, {"Choosy: 4 experts"});
  expect_invalid([&] { asked.check(2, TopK{.k = 2}); }, {"2 choices"});
  expect_invalid([&] { asked.check(1, TopK{.k = 1}); }, {"1 experts do not divide into 2 devices"});
  EXPECT_NO_THROW((Losses{Choosy{{.coefficient = 0}}}.check(4, TopK{})));  // it is never computed
}

// Not first when the loss is computed: a whole forward pass is lost by then.
TEST(Losses, ALayerRefusesALossThatDoesNotSuitItWhenItIsMadeAndInSurgery) {
  std::mt19937_64 rng(1);
  const auto make = [&](Index count) {
    return Layer{Router<float>::random(count, 3, rng), switch_top1(), make_experts<Mlp<float>>(count, 3, 4, rng),
                 Losses{DeviceBalanceLoss{.devices = 4}}};
  };
  expect_invalid([&] { make(6); }, {"6 experts do not divide into 4 devices"});
  auto layer = make(8);
  auto moment = zeros_like(layer);
  expect_invalid([&] { remove_expert(layer, 3, moment); }, {"7 experts do not divide into 4 devices"});
  EXPECT_EQ(layer.experts.size(), 8u);
  EXPECT_EQ(moment.experts.size(), 8u);
  EXPECT_NO_THROW(keep_experts(layer, {0, 1, 2, 3}, moment));
}

TEST(Losses, OneValuePrintsWithItsCoefficient) {
  std::ostringstream out;
  out << losses.report(example())[0];
  EXPECT_EQ(out.str(), "sum 3 (x 0.5)");
}

/// The losses of a pass are its layer's; a copy is another layer, as in the backward pass.
TEST(Losses, AuxiliaryLossRefusesTheTapeOfAnotherLayer) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<double>::random(4, 3, rng), TopK{.k = 2}, make_experts<Mlp<double>>(4, 3, 5, rng),
                    Losses{RouterZLoss{}}};
  const auto copy = layer;
  decltype(layer)::Tape tape;
  layer.forward(support::random_matrix<double>(6, 3, 2), tape);
  EXPECT_GT(layer.auxiliary_loss(tape), 0);
  expect_invalid([&] { (void)copy.auxiliary_loss(tape); }, {"Layer::auxiliary_loss", "another layer's"});
}

}  // namespace losses_test
}  // namespace moe
