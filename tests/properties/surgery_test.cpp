// Properties of surgery on trained layers: what must not change the numbers, and to which bit.
#include <cstddef>
#include <utility>
#include <vector>

#include "draws.hpp"

namespace properties {
namespace surgery_test {

template <class Layer>
using Adam = moe::AdamW<std::remove_cvref_t<Layer>>;

/// Steps of AdamW towards random targets, so that no moment is zero.
template <class Layer>
void train(Layer& layer, Adam<Layer>& adam, Sizes& sizes, int steps = 2) {
  for (int step = 0; step < steps; ++step) {
    const Matrix x_TD = random_tokens(sizes), dy_TD = random_tokens(sizes);
    typename Layer::Tape tape{static_cast<std::uint64_t>(step)};
    Layer gradient = moe::zeros_like(layer);
    layer.forward(x_TD, tape);
    layer.backward(x_TD, dy_TD, tape, gradient);
    RC_ASSERT(adam.step(layer, gradient));
  }
}

/// With weights that suit more experts than there are, too.
Sizes draw_sizes_to_grow() {
  Sizes sizes = draw_sizes(1);
  if (sizes.k == 1) sizes.top_k.weights = moe::ChoiceWeights::probabilities();
  return sizes;
}

/// A layer in training: noise, selection noise weights, biases, moments.
struct Trained {
  Sizes sizes = draw_sizes_to_grow();
  moe::Layer<moe::Router<double>, moe::NoisyTopK<double>, moe::SwiGlu<double>> layer{
      random_router(sizes), support::random_noisy_gate(sizes.experts, sizes.width, sizes.top_k, sizes.rng),
      random_experts(sizes)};
  moe::AdamW<decltype(layer)> adam{layer, {.weight_decay = 0.1}};

  Trained() { train(layer, adam, sizes); }

  /// Parameters and moments, one after the other.
  moe::Vector<double> state() const {
    moe::Vector<double> all(moe::parameter_count(layer) + moe::parameter_count(adam));
    all << moe::flatten(layer), moe::flatten(adam);
    return all;
  }
};

std::vector<Index> inverse(const std::vector<Index>& order) {
  std::vector<Index> result(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) result[static_cast<std::size_t>(order[i])] = static_cast<Index>(i);
  return result;
}

RC_GTEST_PROP(Surgery, PermutationChangesNothingAndHasAnInverse, ()) {
  Trained trained;
  auto& [sizes, layer, adam] = trained;
  const Matrix x_TD = random_tokens(sizes), before = layer.forward(x_TD);
  const moe::Vector<double> state = trained.state();
  const std::vector<Index> order = random_order(sizes.experts, sizes.rng);
  moe::permute_experts(layer, order, adam);
  RC_ASSERT(is_close(layer.forward(x_TD), before));
  moe::permute_experts(layer, inverse(order), adam);
  RC_ASSERT(support::same_bits(trained.state(), state));
  train(layer, adam, sizes);
}

/// Training and relabelling may be done in either order: the moments go where their experts go.
RC_GTEST_PROP(Surgery, TrainingAPermutedLayerIsPermutedTraining, ()) {
  Sizes sizes = draw_sizes(1);
  auto first = top_k_layer(sizes);
  Adam<decltype(first)> first_adam(first, {.weight_decay = 0.1});
  train(first, first_adam, sizes);
  auto second = first;
  auto second_adam = first_adam;
  const std::vector<Index> order = random_order(sizes.experts, sizes.rng);
  moe::permute_experts(second, order, second_adam);
  auto same_draws = sizes;
  train(first, first_adam, sizes, 3);
  train(second, second_adam, same_draws, 3);
  moe::permute_experts(first, order, first_adam);
  RC_ASSERT(is_close(moe::flatten(second), moe::flatten(first), 1e-6));  // AdamW magnifies rounding where v is small
}

RC_GTEST_PROP(Surgery, AddThenRemoveIsTheIdentity, ()) {
  Trained trained;
  auto& [sizes, layer, adam] = trained;
  const moe::Vector<double> state = trained.state();
  const auto newcomers = *rc::gen::inRange<Index>(1, 4);
  moe::add_experts(layer, support::random_router(newcomers, sizes.width, sizes.rng),
                   support::random_experts<moe::SwiGlu<double>>(newcomers, sizes.width, sizes.hidden, sizes.rng), adam);
  RC_ASSERT(static_cast<Index>(layer.experts.size()) == sizes.experts + newcomers);
  for (Index e = 0; e < newcomers; ++e) moe::remove_expert(layer, sizes.experts, adam);
  RC_ASSERT(support::same_bits(trained.state(), state));
}

RC_GTEST_PROP(Surgery, MergingAnExpertWithItsCloneGivesItBack, ()) {
  Trained trained;
  auto& [sizes, layer, adam] = trained;
  const moe::Vector<double> state = trained.state();
  const auto expert = *rc::gen::inRange<Index>(0, sizes.experts);
  const bool halve = *rc::gen::arbitrary<bool>(), clone_first = *rc::gen::arbitrary<bool>();
  moe::split_expert(layer, expert, {.halve_mass = halve}, adam);
  moe::merge_experts(layer, expert, sizes.experts, {.add_mass = halve}, adam);
  if (halve)
    RC_ASSERT(is_close(trained.state(), state));
  else
    RC_ASSERT(support::same_bits(trained.state(), state));
  if (!clone_first || halve) return;
  moe::split_expert(layer, expert, {.halve_mass = false}, adam);
  moe::merge_experts(layer, sizes.experts, expert, {.add_mass = false}, adam);  // stays last
  std::vector<Index> back;
  for (Index e = 0; e < sizes.experts; ++e) back.push_back(e < expert ? e : e == expert ? sizes.experts - 1 : e - 1);
  moe::permute_experts(layer, back, adam);
  RC_ASSERT(support::same_bits(trained.state(), state));
}

RC_GTEST_PROP(Surgery, SplittingInADenseMixtureChangesNothing, ()) {
  Sizes sizes = draw_sizes();
  moe::Layer layer{random_router(sizes), moe::Softmax{}, random_experts(sizes)};
  const Matrix x_TD = random_tokens(sizes), before = layer.forward(x_TD);
  moe::split_expert(layer, *rc::gen::inRange<Index>(0, sizes.experts), {});
  RC_ASSERT(is_close(layer.forward(x_TD), before));
}

RC_GTEST_PROP(Surgery, SplittingWithHalvedMassKeepsTheOthersProbabilities, ()) {
  Trained trained;
  auto& [sizes, layer, adam] = trained;
  const Matrix x_TD = random_tokens(sizes);
  decltype(trained.layer)::Tape before, after;
  layer.forward(x_TD, before);
  const auto expert = *rc::gen::inRange<Index>(0, sizes.experts);
  moe::split_expert(layer, expert, {}, adam);
  layer.forward(x_TD, after);
  Matrix summed = after.routing.probabilities_TE.leftCols(sizes.experts);
  summed.col(expert) += after.routing.probabilities_TE.col(sizes.experts);
  RC_ASSERT(is_close(summed, before.routing.probabilities_TE));
  train(layer, adam, sizes);
}

/// Experts that no token of the batch chose can go.
RC_GTEST_PROP(Surgery, PruningUnusedExpertsChangesNothing, ()) {
  Sizes sizes = draw_sizes(1, 2);
  auto layer = top_k_layer(sizes);
  RC_PRE(layer.gate.weights != moe::ChoiceWeights::probabilities());  // of all experts, the pruned ones too
  Adam<decltype(layer)> adam(layer);
  const Matrix x_TD = random_tokens(sizes);
  decltype(layer)::Tape tape;
  const Matrix before = layer.forward(x_TD, tape);
  const moe::Load load = moe::load_of(tape.plan);
  const auto used = std::count_if(load.chosen.begin(), load.chosen.end(), [](Index count) { return count > 0; });
  const std::vector<Index> kept = moe::prune_by_load(layer, load, used, adam);
  RC_ASSERT(static_cast<Index>(kept.size()) == used);
  RC_ASSERT(is_close(layer.forward(x_TD), before));
  if (used > 1 || layer.gate.weights == moe::ChoiceWeights::uniform()) train(layer, adam, sizes);
}

template <class X>
void assert_upcycled_is_dense() {
  Sizes sizes = draw_sizes();
  const auto granularity = *rc::gen::inRange<Index>(1, 5), copies = *rc::gen::inRange<Index>(1, 5);
  const auto chosen = *rc::gen::inRange<Index>(1, copies + 1);
  const X dense = support::random_expert<X>(sizes.width, sizes.hidden * granularity, sizes.rng);
  const Index experts = copies * granularity, k = chosen * granularity;
  auto router = moe::repeat_rows(support::random_router(copies, sizes.width, sizes.rng), granularity);
  moe::TopK gate{.k = k, .weights = moe::ChoiceWeights::renormalized()};
  double weight_sum = 1;
  if (k == 1 || *rc::gen::arbitrary<bool>()) {
    gate.weights = moe::ChoiceWeights::probabilities();
    router = moe::Router<double>::zeros(experts, sizes.width);
    weight_sum = static_cast<double>(k) / static_cast<double>(experts);
  }
  moe::Layer layer{router, gate, moe::upcycle(dense, copies, {granularity, weight_sum})};
  const Matrix x_TD = random_tokens(sizes);
  Matrix expected(sizes.tokens, sizes.width);
  typename X::Tape tape;
  dense.forward(x_TD, expected, tape);
  RC_ASSERT(is_close(layer.forward(x_TD), expected, 1e-11));
  Adam<decltype(layer)> adam(layer);
  train(layer, adam, sizes, 1);
}

RC_GTEST_PROP(Surgery, AnUpcycledMlpIsTheDenseOneAtStep0, ()) { assert_upcycled_is_dense<moe::Mlp<double>>(); }
RC_GTEST_PROP(Surgery, AnUpcycledGluIsTheDenseOneAtStep0, ()) { assert_upcycled_is_dense<moe::SwiGlu<double>>(); }

/// Everything that a gate holds for experts, through additions, splits, removals and merges in any order.
RC_GTEST_PROP(Surgery, ALayerKeepsTrainingAfterAnyOperations, ()) {
  Sizes sizes = draw_sizes(1);
  moe::Layer layer{random_router(sizes), moe::ScoredTopK{.k = 1, .scores = moe::Scores::sigmoid({.normalize = false})},
                   random_experts(sizes)};
  layer.gate.selection_bias_E = support::random_matrix(sizes.experts, 1, sizes.rng);
  Adam<decltype(layer)> adam(layer);
  for (int i = 0; i < 5; ++i) {
    const auto count = static_cast<Index>(layer.experts.size());
    const auto expert = moe::detail::random_index(sizes.rng, count);
    switch (*rc::gen::inRange(0, 5)) {
      case 0:
        moe::add_experts(layer, support::random_router(1, sizes.width, sizes.rng),
                         support::random_experts<moe::SwiGlu<double>>(1, sizes.width, sizes.hidden, sizes.rng), adam);
        break;
      case 1:
        moe::split_expert(layer, expert, {}, adam);
        break;
      case 2:
        if (count > 1) moe::remove_expert(layer, expert, adam);
        break;
      case 3:
        if (count > 1) moe::merge_experts(layer, expert, (expert + 1) % count, {.share = 0.3}, adam);
        break;
      default:
        moe::permute_experts(layer, random_order(count, sizes.rng), adam);
    }
    RC_ASSERT(layer.gate.selection_bias_E.size() == static_cast<Index>(layer.experts.size()));
    train(layer, adam, sizes, 1);
  }
}

}  // namespace surgery_test
}  // namespace properties
