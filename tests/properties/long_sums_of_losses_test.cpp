// Losses and objectives of a million tokens, in float and in double: their values, and the gradients that rest on sums.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "long_sums.hpp"

namespace moe {
namespace long_sums_of_losses_test {

using namespace long_sums;

constexpr Index groups = 10;

/// The two best experts of each token, with noise whose draws repeat as the tokens do.
template <class S>
Routing<S> decision(Index tokens) {
  const Matrix<S> x(tokens, 1);
  Batch<S> batch{x};
  batch.group_size = tokens / groups;
  Routing<S> routing;
  routing.reset(batch, experts);
  routing.logits_TE = rows_of_kinds<S>(tokens, experts, 1);
  TopK{.k = 2}.route(batch, routing, nullptr);
  Noise<S>& noise = routing.noise;
  noise.drawn = true;
  noise.weighs = false;
  noise.normal_TE = rows_of_kinds<S>(tokens, experts, 2);
  noise.stddev_TE = Matrix<S>::Constant(tokens, experts, S(0.5));
  noise.logits_TE = routing.logits_TE + S(0.5) * noise.normal_TE;
  return routing;
}

/// The value, and what one token of each kind gets of the gradient times the tokens; both divided by the tokens to that
/// power.
template <class S, class L>
Tensors tensors_of(const L& loss, const Routing<S>& routing, int power) {
  const auto tokens = static_cast<double>(routing.tokens());
  const double divisor = std::pow(tokens, power);
  Tensors tensors;
  tensors.add_value("value", static_cast<double>(loss.value(routing)) / divisor);
  Routing<S> gradient;
  gradient.reset_gradient(routing);
  loss.backward(routing, S(1), gradient);
  Matrix<double> rows(kinds, 4 * experts);
  rows.setZero();
  for (const Choice<S>& c : gradient.choices)
    if (c.token < kinds) rows(c.token, 3 * experts + c.expert) = static_cast<double>(c.weight);
  for (Index t = 0; t < kinds; ++t)
    for (Index e = 0; e < experts; ++e) {
      rows(t, e) = static_cast<double>(gradient.logits_TE(t, e) + gradient.noise.logits_TE(t, e));
      rows(t, experts + e) = static_cast<double>(gradient.probabilities_TE(t, e));
      rows(t, 2 * experts + e) = static_cast<double>(gradient.noise.stddev_TE(t, e));
    }
  rows *= tokens / divisor;
  tensors.add("gradient", rows);
  return tensors;
}

TEST(LongSums, Losses) {
  const Routing<float> in_float = decision<float>(many);
  const Routing<double> in_double = decision<double>(kinds * groups);
  const auto expect_exact = [&](const std::string& what, auto loss, int power = 0) {
    const Tensors actual = tensors_of(loss, in_float, power);
    if constexpr (requires { loss.label_of_token.size(); }) loss.label_of_token.resize(kinds * groups);
    expect_same(what, actual, tensors_of(loss, in_double, power));
  };
  for (int count = 0; count <= static_cast<int>(ChoiceCount::plain_top_k_share); ++count)
    for (const auto scope : {LoadBalanceLoss::Scope::batch, LoadBalanceLoss::Scope::sequence})
      expect_exact("LoadBalanceLoss " + std::to_string(count),
                   LoadBalanceLoss{.count = static_cast<ChoiceCount>(count), .scope = scope});
  for (const auto source : {ImportanceLoss::Source::weights, ImportanceLoss::Source::clean_probabilities})
    expect_exact("ImportanceLoss", ImportanceLoss{.source = source});
  using Threshold = LoadLoss::Threshold;
  for (const auto threshold : {Threshold::excluding_itself, Threshold::kth_largest, Threshold::among_probabilities,
                               Threshold::of_probabilities})
    expect_exact("LoadLoss", LoadLoss{.threshold = threshold});
  expect_exact("RouterZLoss", RouterZLoss{});
  using Entropy = EntropyLoss::Kind;
  for (const auto kind : {Entropy::local, Entropy::global, Entropy::mutual_information})
    expect_exact("EntropyLoss", EntropyLoss{.kind = kind});
  GateLabelLoss labels;
  for (Index t = 0; t < many; ++t) labels.label_of_token.push_back(t % kinds);
  expect_exact("GateLabelLoss", labels);
  for (const auto kind : {DeviceBalanceLoss::Kind::computation, DeviceBalanceLoss::Kind::communication})
    expect_exact("DeviceBalanceLoss", DeviceBalanceLoss{.devices = experts, .kind = kind});
  expect_exact("SecondChoiceLoss", SecondChoiceLoss{});
  expect_exact("ScoreVarianceLoss", ScoreVarianceLoss{});
  expect_exact("ReluBalanceLoss", ReluBalanceLoss{});
  expect_exact("TokenBalanceLoss", TokenBalanceLoss{}, 2);  // the same probabilities for more tokens
}

/// value(scalar, tokens) of an objective: in float of many tokens, in double of one of each kind. Some are means over
/// tokens, some sums.
enum class Kind { mean, sum };
template <class Value>
void expect_exact_value(const std::string& what, Kind kind, const Value& value, Index tokens = many) {
  Tensors in_float, in_double;
  in_float.add_value("value", static_cast<double>(value(float{}, tokens)));
  in_double.add_value("value", value(double{}, kinds));
  expect_same(what, in_float, in_double, kind == Kind::sum ? static_cast<double>(tokens / kinds) : 1);
}

TEST(LongSums, ObjectivesOnOutputs) {
  const auto on_outputs = [](const std::string& what, const auto& loss) {
    expect_exact_value(what, Kind::mean, [&](auto s, Index tokens) {
      using S = decltype(s);
      return loss.value(rows_of_kinds<S>(tokens, width, 1), rows_of_kinds<S>(tokens, width, 2));
    });
  };
  on_outputs("MeanSquaredDistillation", MeanSquaredDistillation{});
  on_outputs("SoftLabelDistillation", SoftLabelDistillation{.temperature = 2});
  on_outputs("SoftLabelDistillation, symmetric", SoftLabelDistillation{.symmetric = true});
  on_outputs("SoftLabelDistillation, cross-entropy", SoftLabelDistillation{.cross_entropy = true});
  expect_exact_value("CrossEntropyLoss", Kind::mean, [&](auto s, Index tokens) {
    std::vector<Index> labels;
    for (Index t = 0; t < tokens; ++t) labels.push_back(t % kinds);
    return CrossEntropyLoss{}.value(rows_of_kinds<decltype(s)>(tokens, width, 1), labels);
  });
}

TEST(LongSums, ObjectivesOfManyClassesOrExperts) {
  const auto in_both = [](const std::string& what, const auto& value) {
    expect_exact_value(what, Kind::mean, [&](auto s, Index) { return value(s); });
  };
  in_both("CrossEntropyLoss of many classes", [](auto s) {
    return CrossEntropyLoss{}.value(rows_of_kinds<decltype(s)>(kinds, many, 1), std::vector<Index>{0, 1, 2});
  });
  for (const bool squared : {false, true})
    in_both("ExpertDiversityLoss", [&](auto s) {
      return ExpertDiversityLoss{squared}.value(rows_of_kinds<decltype(s)>(100 * kinds, width, 1));
    });
  in_both("RouterOrthogonalityLoss",
          [](auto s) { return RouterOrthogonalityLoss{}.value(rows_of_kinds<decltype(s)>(100 * kinds, width, 1)); });
  in_both("SimilarityBalanceLoss",
          [](auto s) { return SimilarityBalanceLoss{}.value(rows_of_kinds<decltype(s)>(100 * kinds, width, 1)); });
}

template <class S, class Loss>
Tensors gradient_on_weights(const Loss& loss) {
  const Matrix<S> weight = rows_of_kinds<S>(100 * kinds, width, 1);
  Matrix<S> gradient = Matrix<S>::Zero(weight.rows(), width);
  loss.backward(weight, 1, gradient);
  Tensors tensors;
  tensors.add("gradient", gradient);
  return tensors;
}

TEST(LongSums, GradientsOfManyExperts) {
  const auto in_both = [](const std::string& what, const auto& loss) {
    expect_same(what, gradient_on_weights<float>(loss), gradient_on_weights<double>(loss));
  };
  for (const bool squared : {false, true}) in_both("ExpertDiversityLoss", ExpertDiversityLoss{squared});
  in_both("RouterOrthogonalityLoss", RouterOrthogonalityLoss{});
}

template <class S>
auto dense_layer(std::mt19937_64& generator) {
  return Layer{Router<S>::random(experts, width, generator), Softmax{},
               make_experts<Linear<S>>(experts, width, width, generator)};
}

/// make(generator) is a layer.
template <class S, class Make, class Value>
S value_of_pass(Index tokens, const Make& make, const Value& value) {
  std::mt19937_64 generator{3};
  const auto layer = drawn(make(generator));
  typename std::remove_const_t<decltype(layer)>::Tape tape;
  layer.forward(rows_of_kinds<S>(tokens, width, 1), tape);
  return value(tape, rows_of_kinds<S>(tokens, width, 2));
}

TEST(LongSums, ObjectivesOnSlots) {
  const auto on_slots = [](const std::string& what, const auto& loss) {
    expect_exact_value(what, Kind::sum, [&](auto s, Index tokens) {
      using S = decltype(s);
      return value_of_pass<S>(tokens, dense_layer<S>, [&](const auto& tape, const Matrix<S>& target) {
        return loss.value(tape.plan, tape.y_NO, target);
      });
    });
  };
  on_slots("CooperativeLoss", CooperativeLoss{});
  on_slots("CompetitiveLoss", CompetitiveLoss{});
  on_slots("MixtureNegativeLogLikelihood", MixtureNegativeLogLikelihood{});
  expect_exact_value("OutputOrthogonalityLoss", Kind::sum, [](auto s, Index tokens) {
    using S = decltype(s);
    return value_of_pass<S>(tokens, dense_layer<S>, [](const auto& tape, const Matrix<S>&) {
      return OutputOrthogonalityLoss{}.value(tape.plan, tape.y_NO);
    });
  });
}

TEST(LongSums, ObjectiveOfTheHierarchicalMixture) {
  const auto value = [](auto s, Index tokens) {
    using S = decltype(s);
    const auto make = [](std::mt19937_64& generator) {
      std::vector<decltype(dense_layer<S>(generator))> inner;
      for (Index e = 0; e < 2; ++e) inner.push_back(dense_layer<S>(generator));
      return Layer{Router<S>::random(2, width, generator), Softmax{}, inner};
    };
    return value_of_pass<S>(tokens, make, [](const auto& tape, const Matrix<S>& target) {
      return HierarchicalMixtureLoss{}.value(tape, target);
    });
  };
  expect_exact_value("HierarchicalMixtureLoss", Kind::sum, value, fewer);
}

}  // namespace long_sums_of_losses_test
}  // namespace moe
