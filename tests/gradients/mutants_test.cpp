// The check of the checks: with one term of a gradient broken on purpose, check_layer_gradients must say so; with none
// broken, it must pass on the same layer.
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "check_case.hpp"
#include "check_slots.hpp"
#include "mutants.hpp"

namespace gradients {
namespace mutants_test {

using moe::ChoiceWeights;
using Mlp = mutants::Mlp;

constexpr Index expert_count = 4;
const Setting evaluation{.tokens = 9, .room = {.factor = 0.7}};
const Setting training{.tokens = 9, .tape_seed = 5};

template <class Layer>
moe::testing::GradientReport report_of(const Layer& layer, const Setting& setting) {
  std::mt19937_64 rng(3);
  const moe::Matrix<double> x_TD = support::random_matrix(setting.tokens, width, rng);
  return moe::testing::check_layer_gradients(layer, setting.batch(x_TD),
                                             {.tolerance = gradient_tolerance, .tape_seed = setting.tape_seed});
}

/// Found by a wrong number, not by an excess of kinks.
void expect_found(const moe::testing::GradientReport& report) {
  EXPECT_FALSE(report) << report;
  EXPECT_GT(report.worst, 100 * gradient_tolerance) << report;
}

template <class R = moe::Router<double>>
R router(double jitter = 0) {
  std::mt19937_64 rng(11);
  R part{support::random_router(expert_count, width, rng)};
  part.jitter = jitter;
  return part;
}

template <class X = Mlp>
std::vector<X> experts() {
  std::mt19937_64 rng(12);
  std::vector<X> list;
  for (Index e = 0; e < expert_count; ++e) {
    if constexpr (std::is_base_of_v<Mlp, X>)
      list.push_back(X{support::random_expert<Mlp>(width, hidden, rng)});
    else if constexpr (std::is_base_of_v<mutants::Glu, X>)
      list.push_back(X{support::random_expert<mutants::Glu>(width, hidden, rng)});
    else
      list.push_back(support::random_expert<X>(width, hidden, rng));
  }
  return list;
}

template <class G = moe::NoisyTopK<double>>
G noisy_gate() {
  std::mt19937_64 rng(13);
  return G{support::randomized(moe::NoisyTopK<double>::zeros(expert_count, width, {.k = 2}), rng)};
}

template <class... L>
moe::testing::GradientReport report_with_losses(const Setting& setting, L... losses) {
  return report_of(moe::Layer{router(), noisy_gate(), experts(), moe::Losses{losses...}}, setting);
}

constexpr moe::TopK top_2(ChoiceWeights weights) { return {.k = 2, .weights = weights}; }

template <class G>
moe::testing::GradientReport report_with_gate(const G& gate) {
  return report_of(moe::Layer{router(), gate, experts(), all_losses(1), evaluation.room.capacity()}, evaluation);
}

TEST(GradientMutants, NoneInTheOriginal) {
  for (const auto& weights :
       {ChoiceWeights::softmax_of_chosen(), ChoiceWeights::renormalized(), ChoiceWeights::probabilities()})
    EXPECT_TRUE(report_with_gate(top_2(weights)));
  EXPECT_TRUE(report_of(moe::Layer{router(), noisy_gate(), experts(), all_losses(0)}, training));
  EXPECT_TRUE(report_of(moe::Layer{router(0.3), moe::switch_top1(), experts<mutants::Glu>(), all_losses(0)}, training));
}

TEST(GradientMutants, InGates) {
  using namespace mutants;
  for (const auto& weights :
       {ChoiceWeights::softmax_of_chosen(), ChoiceWeights::renormalized(), ChoiceWeights::probabilities()})
    expect_found(report_with_gate(WeightGradientDropped<moe::TopK>{top_2(weights)}));
  expect_found(report_with_gate(InnerProductDropped{top_2(ChoiceWeights::softmax_of_chosen())}));
  expect_found(report_with_gate(DenominatorTakenForConstant{top_2(ChoiceWeights::renormalized())}));
  expect_found(report_with_gate(SoftmaxTakenForElementWise{top_2(ChoiceWeights::probabilities())}));
  const moe::Losses balance{moe::LoadBalanceLoss{.coefficient = 1}};
  expect_found(
      report_of(moe::Layer{router(), WeightGradientDropped<moe::ExpertChoice>{}, experts(), balance}, evaluation));
}

TEST(GradientMutants, InNoise) {
  using namespace mutants;
  const auto found = [](const auto& gate) {
    expect_found(report_of(moe::Layer{router(), gate, experts(), all_losses(0)}, training));
  };
  found(noisy_gate<NoiseWeightGradientDropped>());
  found(noisy_gate<InputGradientOfNoiseDropped>());
  found(noisy_gate<NoisyLogitsGradientDropped>());
}

TEST(GradientMutants, InLosses) {
  using namespace mutants;
  using Source = moe::ImportanceLoss::Source;
  // One per cent of one loss must not hide behind the gradient of the task.
  const auto found = [](const auto& loss) { expect_found(report_with_losses(training, loss)); };
  found(OnePercentOff<moe::ImportanceLoss>{{.coefficient = 1}});
  found(OnePercentOff<moe::ImportanceLoss>{{.coefficient = 1, .source = Source::clean_probabilities}});
  found(OnePercentOff<moe::LoadLoss>{{.coefficient = 1}});
  found(OnePercentOff<moe::LoadBalanceLoss>{{.coefficient = 1}});
  found(OnePercentOff<moe::RouterZLoss>{{.coefficient = 1}});
  found(ThresholdTermDropped{{.coefficient = 1}});
  found(ThresholdTermDropped{{.coefficient = 1, .threshold = moe::LoadLoss::Threshold::kth_largest}});
  found(DeviationTermDropped{{.coefficient = 1}});
}

TEST(GradientMutants, InRouters) {
  using namespace mutants;
  const auto found = [](const auto& broken) {
    expect_found(report_of(moe::Layer{broken, moe::TopK{.k = 2}, experts(), all_losses(0)}, training));
  };
  found(router<RouterInputGradientDropped>());
  found(router<RouterWeightGradientDropped>());
  found(router<RouterBiasGradientDropped>());
  found(router<JitterForgotten>(0.3));
}

TEST(GradientMutants, InExperts) {
  using namespace mutants;
  const auto found = [](const auto& broken) {
    expect_found(report_of(moe::Layer{router(), moe::TopK{.k = 2}, broken}, evaluation));
  };
  found(experts<moe::Mlp<double, DerivativeForgotten>>());
  found(experts<moe::Glu<double, DerivativeForgotten>>());
  found(experts<ExpertInputGradientDropped>());
  found(experts<ExpertBiasGradientDropped>());
  found(experts<UpProjectionGradientDropped>());
}

TEST(GradientMutants, InLayers) {
  const moe::Layer original{router(), moe::TopK{.k = 2}, experts(), all_losses(0)};
  using Original = std::remove_const_t<decltype(original)>;
  expect_found(report_of(mutants::CombineForgetsWeights<Original>{original}, evaluation));
  expect_found(report_of(mutants::LossesForgotten<Original>{original}, evaluation));
}

/// Named, though every number is right as long as nobody else writes there.
void expect_overwriting(const moe::testing::GradientReport& report, const std::string& who, const std::string& what) {
  EXPECT_FALSE(report) << report;
  EXPECT_FALSE(report.differ) << report;
  ASSERT_EQ(report.faults.size(), 1u) << report;
  EXPECT_EQ(report.faults[0].find(who + ": backward writes over "), 0u) << report;
  EXPECT_NE(report.faults[0].find(" entries of " + what + ", to which it must add"), std::string::npos) << report;
}

TEST(GradientMutants, ThatWriteOverWhatAnotherWroteAreNamed) {
  using namespace mutants;
  const auto of_gate = [](const auto& gate) { return report_of(moe::Layer{router(), gate, experts()}, training); };
  expect_overwriting(of_gate(LogitsGradientOverwritten{top_2(ChoiceWeights::probabilities())}), "the gate",
                     "drouting's logits_TE");
  expect_overwriting(of_gate(ProbabilitiesGradientOverwritten{top_2(ChoiceWeights::probabilities())}), "the gate",
                     "drouting's probabilities_TE");
  expect_overwriting(of_gate(noisy_gate<InputGradientOverwritten>()), "the gate", "dx");
  const auto of_loss = [](const auto& loss) { return report_with_losses(training, loss); };
  expect_overwriting(of_loss(OverwritesLogits{{.coefficient = 1}}), "router_z", "drouting's logits_TE");
  expect_overwriting(of_loss(OverwritesProbabilities{{.coefficient = 1}}), "load_balance",
                     "drouting's probabilities_TE");
  expect_overwriting(of_loss(OverwritesWeights{{.coefficient = 1}}), "importance", "drouting's choices' weights");
  expect_overwriting(of_loss(OverwritesNoise{{.coefficient = 1}}), "load", "drouting's noise.stddev_TE");
  expect_overwriting(
      report_of(moe::Layer{router<RouterOverwritesInputGradient>(), moe::TopK{.k = 2}, experts()}, training),
      "the router", "dx");
}

TEST(GradientMutants, ThatWriteOverAreNamedInWhatIsAroundALayer) {
  const moe::Shared shared{
      moe::Layer{router(), moe::TopK{.k = 2}, experts(), moe::Losses{mutants::OverwritesLogits{{.coefficient = 1}}}},
      experts().front()};
  expect_overwriting(report_of(shared, training), "router_z", "drouting's logits_TE");
}

/// A slot loss that forgets one of its two gradients.
template <class SlotLoss, bool of_weights>
struct HalfOf : SlotLoss {
  template <class S>
  void backward(const moe::Plan<S>& plan, moe::ConstMatrixRef<S> y_NO, moe::ConstMatrixRef<S> target_TO, S scale,
                moe::MatrixRef<S> dy_NO, moe::Vector<S>& dweight_N) const {
    SlotLoss::template backward<S>(plan, y_NO, target_TO, scale, dy_NO, dweight_N);
    if (of_weights)
      dy_NO.setZero();
    else
      dweight_N.setZero();
  }
};

template <class SlotLoss>
void expect_halves_found() {
  std::mt19937_64 rng(4);
  const moe::Matrix<double> x_TD = support::random_matrix(evaluation.tokens, width, rng);
  const moe::Matrix<double> target_TD = support::random_matrix(evaluation.tokens, width, rng);
  const moe::Layer layer{router(), moe::TopK{.k = 2}, experts()};
  EXPECT_TRUE(check_slot_gradients(layer, evaluation, x_TD, SlotLoss{}, target_TD));
  expect_found(check_slot_gradients(layer, evaluation, x_TD, HalfOf<SlotLoss, true>{}, target_TD));
  expect_found(check_slot_gradients(layer, evaluation, x_TD, HalfOf<SlotLoss, false>{}, target_TD));
}

TEST(GradientMutants, InSlotLosses) {
  expect_halves_found<moe::CooperativeLoss>();
  expect_halves_found<moe::CompetitiveLoss>();
  expect_halves_found<moe::MixtureNegativeLogLikelihood>();
}

}  // namespace mutants_test
}  // namespace gradients
