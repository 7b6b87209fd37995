// Padding, wherever it stands and whatever it holds, changes no bit: outputs, losses and every gradient.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "draws.hpp"

namespace properties {
namespace padding_test {

/// The batch's rows with others between them, which hold NaN, zeros or ordinary numbers; of groups each is filled up to
/// one size, and there are more, of padding alone.
struct Padded {
  Matrix x_TD, dy_TD;
  std::vector<std::uint8_t> valid;
  std::vector<Index> tokens;  // where the tokens stand
  Index group_size = 0;

  Padded(const Matrix& x, const Matrix& dy, Index size, std::mt19937_64& rng) {
    const double filling = *rc::gen::element(std::numeric_limits<double>::quiet_NaN(), 0.0, 1.5);
    const auto some = [&](Index most) { return *rc::gen::inRange<Index>(0, most + 1); };
    if (size == 0) {
      for (Index t = 0; t <= x.rows(); ++t) {
        for (Index padding = some(3); padding > 0; --padding) valid.push_back(0);
        if (t < x.rows()) valid.push_back(1);
      }
    } else {
      group_size = size + some(2);
      for (Index g = 0; g <= x.rows() / size; ++g) {
        for (Index groups = some(2); groups > 0; --groups) valid.resize(valid.size() + at(group_size), 0);
        if (g == x.rows() / size) break;
        std::vector<std::uint8_t> group(at(group_size), 0);
        std::fill_n(group.begin(), size, std::uint8_t{1});
        std::shuffle(group.begin(), group.end(), rng);
        valid.insert(valid.end(), group.begin(), group.end());
      }
    }
    for (std::size_t t = 0; t < valid.size(); ++t)
      if (valid[t] != 0) tokens.push_back(static_cast<Index>(t));
    const auto rows = static_cast<Index>(valid.size());
    x_TD = dy_TD = Matrix::Constant(rows, x.cols(), filling);
    if (filling == 1.5) x_TD = support::random_matrix(rows, x.cols(), rng);
    for (Index t = 0; t < x.rows(); ++t) {
      x_TD.row(tokens[at(t)]) = x.row(t);
      dy_TD.row(tokens[at(t)]) = dy.row(t);
    }
  }

  /// Of a list of one value a token, the same with another for padding.
  template <class T>
  std::vector<T> spread(const std::vector<T>& list, T padding) const {
    if (list.size() != tokens.size()) return list;  // nobody has one
    std::vector<T> result(valid.size(), padding);
    for (std::size_t t = 0; t < tokens.size(); ++t) result[at(tokens[t])] = list[t];
    return result;
  }

  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
};

/// Losses that have a label for each token get one for each row.
template <class... L>
moe::Losses<L...> spread_labels(moe::Losses<L...> losses, const Padded& padded) {
  const auto spread = [&](auto& loss) {
    if constexpr (requires { loss.label_of_token; })
      loss.label_of_token = padded.spread(loss.label_of_token, Index{1'000'000});
    if constexpr (requires { loss.modality_of_token; })
      loss.modality_of_token = padded.spread(loss.modality_of_token, std::int8_t{1});
  };
  std::apply([&](auto&... loss) { (spread(loss), ...); }, losses.all);
  return losses;
}

template <class Layer>
void assert_same_step(const Step<Layer>& with_padding, const Step<Layer>& step, const Padded& padded) {
  RC_ASSERT(support::same_bits(rows(with_padding.y_TD, padded.tokens), step.y_TD));
  RC_ASSERT(support::same_bits(rows(with_padding.dx_TD, padded.tokens), step.dx_TD));
  RC_ASSERT(support::same_bits(with_padding.auxiliary, step.auxiliary));
  RC_ASSERT(support::same_bits(moe::flatten(with_padding.gradient), moe::flatten(step.gradient)));
  RC_ASSERT(with_padding.tape.plan.chosen == step.tape.plan.chosen);
  RC_ASSERT(with_padding.tape.plan.slots() == step.tape.plan.slots());
  for (std::size_t t = 0; t < padded.valid.size(); ++t)
    if (padded.valid[t] == 0) {
      RC_ASSERT(is_zero(with_padding.y_TD.row(static_cast<Index>(t))));
      RC_ASSERT(is_zero(with_padding.dx_TD.row(static_cast<Index>(t))));
    }
}

/// The layer that has the losses: a Layer, or that of a Shared.
template <class Layer>
auto& routed(Layer& layer) {
  if constexpr (requires { layer.losses; })
    return layer;
  else
    return layer.layer;
}

template <class Layer>
void assert_padding_changes_nothing(const Layer& layer, Sizes& sizes, bool training, Index group_size = 0) {
  using Tape = typename Layer::Tape;
  const Matrix x_TD = random_tokens(sizes), dy_TD = random_tokens(sizes);
  const Padded padded(x_TD, dy_TD, group_size, sizes.rng);
  moe::Batch<double> plain = x_TD, batch = padded.x_TD;
  plain.group_size = group_size;
  batch.valid = padded.valid;
  batch.group_size = padded.group_size;
  Layer of_padded = layer;
  routed(of_padded).losses = spread_labels(routed(layer).losses, padded);
  const auto tape = [&] { return training ? Tape(std::uint64_t{8}) : Tape(); };
  const Step<Layer> step(layer, plain, dy_TD, tape());
  assert_same_step(Step<Layer>(of_padded, batch, padded.dy_TD, tape()), step, padded);

  if (training || !std::isnan(padded.x_TD.sum())) return;
  routed(of_padded).dispatching.non_finite = moe::NonFinite::zero_row;  // takes such tokens for padding by itself
  batch.valid = {};
  assert_same_step(Step<Layer>(of_padded, batch, padded.dy_TD, tape()), step, padded);
}

/// A size of groups, and so many tokens that they divide into them.
Index draw_groups(Sizes& sizes) {
  const auto size = *rc::gen::inRange<Index>(1, 6);
  sizes.tokens = size * *rc::gen::inRange<Index>(0, 5);
  return size;
}

moe::Capacity draw_capacity() {
  return *rc::gen::element(moe::Capacity::unlimited(), moe::Capacity::factor(0.7), moe::Capacity::exactly(2));
}

auto all_losses() {
  return moe::Losses{moe::ImportanceLoss{},
                     moe::ImportanceLoss{.source = moe::ImportanceLoss::Source::clean_probabilities}, moe::LoadLoss{},
                     moe::LoadBalanceLoss{}, moe::RouterZLoss{}};
}

RC_GTEST_PROP(Padding, TopK, ()) {
  Sizes sizes = draw_sizes();
  const moe::Layer layer{random_router(sizes), sizes.top_k, random_experts(sizes), all_losses(), draw_capacity()};
  assert_padding_changes_nothing(layer, sizes, false);
}

RC_GTEST_PROP(Padding, JitterAndNoisyTopK, ()) {
  Sizes sizes = draw_sizes();
  auto router = random_router(sizes);
  router.jitter = 0.2;
  const auto gate = support::random_noisy_gate(sizes.experts, sizes.width, sizes.top_k, sizes.rng);
  const moe::Layer layer{std::move(router), gate, random_experts(sizes), all_losses(), draw_capacity()};
  assert_padding_changes_nothing(layer, sizes, true);
}

RC_GTEST_PROP(Padding, FixedNoise, ()) {
  Sizes sizes = draw_sizes();
  const moe::Layer layer{random_router(sizes), moe::FixedNoise{sizes.top_k, 2.0}, random_experts(sizes), all_losses(),
                         draw_capacity()};
  assert_padding_changes_nothing(layer, sizes, true);
}

RC_GTEST_PROP(Padding, Dense, ()) {
  Sizes sizes = draw_sizes();
  const moe::Layer layer{random_router(sizes), moe::Softmax{}, random_experts(sizes), all_losses(), draw_capacity()};
  assert_padding_changes_nothing(layer, sizes, false);
}

RC_GTEST_PROP(Padding, ExpertChoice, ()) {
  Sizes sizes = draw_sizes();
  const moe::ExpertChoice gate{.factor = static_cast<double>(sizes.k)};
  const moe::Layer layer{random_router(sizes), gate, random_experts(sizes),
                         moe::Losses{moe::ImportanceLoss{}, moe::LoadBalanceLoss{}, moe::RouterZLoss{}}};
  assert_padding_changes_nothing(layer, sizes, false);
}

auto losses_of_any_gate(Sizes& sizes) {
  using Count = moe::LoadBalanceLoss::Count;
  using Scope = moe::LoadBalanceLoss::Scope;
  using Kind = moe::EntropyLoss::Kind;
  const Index devices = sizes.experts % 2 == 0 ? 2 : 1;
  std::vector<Index> labels;
  std::vector<std::int8_t> modalities;
  for (Index t = 0; t < sizes.tokens; ++t) {
    labels.push_back(*rc::gen::inRange<Index>(-1, sizes.experts));
    modalities.push_back(*rc::gen::element(std::int8_t{0}, std::int8_t{1}));
  }
  moe::LoadBalanceLoss after_others;
  after_others.earlier = {moe::Vector<double>::Constant(sizes.experts, 3.0), 7.0};
  return moe::Losses{moe::ImportanceLoss{},
                     after_others,
                     moe::LoadBalanceLoss{.count = Count::first_choices, .scope = Scope::sequence},
                     moe::LoadBalanceLoss{.count = Count::all_choices, .scope = Scope::sequence},
                     moe::LoadBalanceLoss{.count = Count::all_choices_share, .scope = Scope::sequence},
                     moe::LoadBalanceLoss{.count = Count::kept_first_choices, .scope = Scope::sequence},
                     moe::LoadBalanceLoss{.count = Count::dropped_to_first_expert, .scope = Scope::sequence},
                     moe::LoadBalanceLoss{.count = Count::all_choices_share},
                     moe::LoadBalanceLoss{.count = Count::kept_first_choices_share},
                     moe::SecondChoiceLoss{},
                     moe::TokenBalanceLoss{},
                     moe::ScoreVarianceLoss{},
                     moe::GateLabelLoss{.label_of_token = labels},
                     moe::EntropyLoss{.kind = Kind::mutual_information},
                     moe::EntropyLoss{.kind = Kind::global, .threshold = 1},
                     moe::EntropyLoss{.kind = Kind::local, .modality = 1, .modality_of_token = modalities},
                     moe::DeviceBalanceLoss{.devices = devices},
                     moe::DeviceBalanceLoss{.devices = devices, .kind = moe::DeviceBalanceLoss::Kind::communication},
                     moe::RouterZLoss{}};
}

template <class G>
void assert_padding_changes_nothing_with(const G& gate, Sizes& sizes) {
  const Index group_size = *rc::gen::arbitrary<bool>() ? draw_groups(sizes) : 0;
  const moe::Layer layer{random_router(sizes), gate, random_experts(sizes), losses_of_any_gate(sizes), draw_capacity()};
  const bool training = *rc::gen::arbitrary<bool>();
  if (*rc::gen::arbitrary<bool>()) return assert_padding_changes_nothing(layer, sizes, training, group_size);
  const auto mix = support::randomized(moe::SoftmaxMix<double>::random(sizes.width, sizes.rng), sizes.rng);
  const moe::Shared shared{layer, random_experts(sizes).front(), mix};
  assert_padding_changes_nothing(shared, sizes, training, group_size);
}

/// With a number of choices that is the same for all tokens.
RC_GTEST_PROP(Padding, LossesOfTopK, ()) {
  Sizes sizes = draw_sizes();
  const Index group_size = draw_groups(sizes);
  using Count = moe::LoadBalanceLoss::Count;
  const moe::Losses losses{
      moe::ImportanceLoss{.source = moe::ImportanceLoss::Source::clean_probabilities}, moe::LoadLoss{},
      moe::LoadBalanceLoss{.count = Count::plain_top_k_share, .scope = moe::LoadBalanceLoss::Scope::sequence}};
  const moe::Layer layer{random_router(sizes), sizes.top_k, random_experts(sizes), losses, draw_capacity()};
  assert_padding_changes_nothing(layer, sizes, false, group_size);
}

RC_GTEST_PROP(Padding, TopKInGroups, ()) {
  Sizes sizes = draw_sizes();
  assert_padding_changes_nothing_with(sizes.top_k, sizes);
}

RC_GTEST_PROP(Padding, ExpertChoiceInGroups, ()) {
  Sizes sizes = draw_sizes();
  const auto axis = *rc::gen::element(moe::ExpertChoice::Axis::experts, moe::ExpertChoice::Axis::tokens);
  assert_padding_changes_nothing_with(moe::ExpertChoice{.factor = static_cast<double>(sizes.k), .softmax_axis = axis},
                                      sizes);
}

/// Objectives on the experts' outputs: values, and gradients of the slots.
RC_GTEST_PROP(Padding, Objectives, ()) {
  Sizes sizes = draw_sizes();
  const auto layer = top_k_layer(sizes);
  const Matrix x_TD = random_tokens(sizes), target_TD = random_tokens(sizes);
  const Padded padded(x_TD, target_TD, 0, sizes.rng);
  moe::Batch<double> batch = padded.x_TD;
  batch.valid = padded.valid;
  typename std::remove_const_t<decltype(layer)>::Tape tape, padded_tape;
  layer.forward(x_TD, tape);
  layer.forward(batch, padded_tape);
  const auto assert_same = [&](const auto& loss) {
    const auto gradients = [&](const auto& of, const Matrix& target) {
      Matrix dy_NO = Matrix::Zero(of.y_NO.rows(), of.y_NO.cols());
      moe::Vector<double> dweight_N = moe::Vector<double>::Zero(of.plan.slots());
      loss.backward(of.plan, of.y_NO, target, 1, dy_NO, dweight_N);
      return std::pair(dy_NO, dweight_N);
    };
    RC_ASSERT(support::same_bits(loss.value(padded_tape.plan, padded_tape.y_NO, padded.dy_TD),
                                 loss.value(tape.plan, tape.y_NO, target_TD)));
    const auto [dy, dweight] = gradients(tape, target_TD);
    const auto [padded_dy, padded_dweight] = gradients(padded_tape, padded.dy_TD);
    RC_ASSERT(support::same_bits(padded_dy, dy) && support::same_bits(padded_dweight, dweight));
  };
  assert_same(moe::CooperativeLoss{});
  assert_same(moe::CompetitiveLoss{});
  assert_same(moe::MixtureNegativeLogLikelihood{.variance = 2});

  const auto labels = [&](const Matrix& rows) {
    return std::vector<Index>(static_cast<std::size_t>(rows.rows()), Index{0});
  };
  const moe::CrossEntropyLoss cross_entropy;
  const std::vector<Index> plain = labels(x_TD), spread = padded.spread(plain, Index{-1});
  RC_ASSERT(
      support::same_bits(cross_entropy.value<double>(padded.x_TD, spread), cross_entropy.value<double>(x_TD, plain)));
}

RC_GTEST_PROP(Padding, HierarchicalMixture, ()) {
  Sizes sizes = draw_sizes();
  sizes.experts = 2;
  std::vector branches{moe::Layer{random_router(sizes), moe::Softmax{}, random_experts(sizes)}};
  branches.push_back(moe::Layer{random_router(sizes), moe::Softmax{}, random_experts(sizes)});
  const moe::Layer outer{random_router(sizes), moe::Softmax{}, branches};
  const Matrix x_TD = random_tokens(sizes), target_TD = random_tokens(sizes);
  const Padded padded(x_TD, target_TD, 0, sizes.rng);
  moe::Batch<double> batch = padded.x_TD;
  batch.valid = padded.valid;
  typename std::remove_const_t<decltype(outer)>::Tape tape, padded_tape;
  auto gradient = moe::zeros_like(outer), padded_gradient = gradient;
  outer.forward(x_TD, tape);
  outer.forward(batch, padded_tape);
  const moe::HierarchicalMixtureLoss loss{.variance = 2};
  RC_ASSERT(support::same_bits(loss.value(padded_tape, padded.dy_TD), loss.value(tape, target_TD)));
  const Matrix dx = loss.backward(outer, x_TD, target_TD, tape, 1, gradient);
  const Matrix padded_dx = loss.backward(outer, batch, padded.dy_TD, padded_tape, 1, padded_gradient);
  RC_ASSERT(support::same_bits(rows(padded_dx, padded.tokens), dx));
  RC_ASSERT(support::same_bits(moe::flatten(padded_gradient), moe::flatten(gradient)));
}

RC_GTEST_PROP(Padding, ScoredTopK, ()) {
  Sizes sizes = draw_sizes();
  const moe::ScoreOptions options{.normalize = sizes.k > 1};
  const auto scores = *rc::gen::element(moe::Scores::softmax(options), moe::Scores::sigmoid(options),
                                        moe::Scores::sqrt_softplus(options));
  assert_padding_changes_nothing_with(moe::ScoredTopK{.k = sizes.k, .scores = scores}, sizes);
}

RC_GTEST_PROP(Padding, NumbersOfExpertsByToken, ()) {
  Sizes sizes = draw_sizes();
  if (*rc::gen::arbitrary<bool>())
    assert_padding_changes_nothing_with(moe::TopP{.p = 0.6}, sizes);
  else
    assert_padding_changes_nothing_with(moe::Threshold{}, sizes);
  assert_padding_changes_nothing_with(moe::ReluRouting{}, sizes);
}

RC_GTEST_PROP(Padding, Assignments, ()) {
  Sizes sizes = draw_sizes();
  if (*rc::gen::arbitrary<bool>())
    assert_padding_changes_nothing_with(moe::Sinkhorn{.k = sizes.k}, sizes);
  else
    assert_padding_changes_nothing_with(moe::BaseAssignment{}, sizes);
}

RC_GTEST_PROP(Padding, OrdersOfPriority, ()) {
  Sizes sizes = draw_sizes();
  const auto priority =
      *rc::gen::element(moe::Priority::best_probability, moe::Priority::weight, moe::Priority::random);
  assert_padding_changes_nothing_with(moe::Prioritized{sizes.top_k, priority}, sizes);
}

RC_GTEST_PROP(Padding, SampledAndReroutedChoices, ()) {
  Sizes sizes = draw_sizes();
  if (*rc::gen::arbitrary<bool>())
    assert_padding_changes_nothing_with(moe::SparseMixer{.k = sizes.k, .band = 0.5}, sizes);
  else
    assert_padding_changes_nothing_with(
        moe::NoTokenLeftBehind{.top_k = {.k = sizes.k, .weights = moe::ChoiceWeights::probabilities()}}, sizes);
}

}  // namespace padding_test
}  // namespace properties
