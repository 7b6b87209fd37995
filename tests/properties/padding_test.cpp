// Padding, wherever it stands and whatever it holds, changes no bit: outputs, losses and every gradient.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "draws.hpp"

namespace properties {
namespace padding_test {

/// The batch's rows with others between them, which hold NaN, zeros or ordinary numbers.
struct Padded {
  Matrix x_TD, dy_TD;
  std::vector<std::uint8_t> valid;
  std::vector<Index> tokens;  // where the tokens stand

  Padded(const Matrix& x, const Matrix& dy, std::mt19937_64& rng) {
    const double filling = *rc::gen::element(std::numeric_limits<double>::quiet_NaN(), 0.0, 1.5);
    const auto before = [&] { return *rc::gen::inRange<Index>(0, 4); };
    for (Index t = 0; t <= x.rows(); ++t) {
      for (Index padding = before(); padding > 0; --padding) valid.push_back(0);
      if (t < x.rows()) tokens.push_back(static_cast<Index>(valid.size())), valid.push_back(1);
    }
    const auto rows = static_cast<Index>(valid.size());
    x_TD = dy_TD = Matrix::Constant(rows, x.cols(), filling);
    if (filling == 1.5) x_TD = support::random_matrix(rows, x.cols(), rng);
    for (Index t = 0; t < x.rows(); ++t) {
      x_TD.row(tokens[static_cast<std::size_t>(t)]) = x.row(t);
      dy_TD.row(tokens[static_cast<std::size_t>(t)]) = dy.row(t);
    }
  }
};

template <class Layer>
void assert_padding_changes_nothing(const Layer& layer, Sizes& sizes, bool training) {
  using Tape = typename Layer::Tape;
  const Matrix x_TD = random_tokens(sizes), dy_TD = random_tokens(sizes);
  const Padded padded(x_TD, dy_TD, sizes.rng);
  moe::Batch<double> batch = padded.x_TD;
  batch.valid = padded.valid;
  const auto tape = [&] { return training ? Tape(std::uint64_t{8}) : Tape(); };
  const Step<Layer> step(layer, x_TD, dy_TD, tape()), with_padding(layer, batch, padded.dy_TD, tape());

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

moe::Capacity draw_capacity() {
  return *rc::gen::element(moe::Capacity::unlimited(), moe::Capacity::factor(0.7), moe::Capacity::exactly(2));
}

auto all_losses() {
  return moe::Losses{moe::ImportanceLoss{}, moe::ImportanceLoss{.of = moe::ImportanceLoss::Of::clean_probabilities},
                     moe::LoadLoss{}, moe::LoadBalanceLoss{}, moe::RouterZLoss{}};
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

auto losses_of_any_gate() {
  using Count = moe::LoadBalanceLoss::Count;
  return moe::Losses{moe::ImportanceLoss{},
                     moe::LoadBalanceLoss{.count = Count::all_choices_share},
                     moe::LoadBalanceLoss{.count = Count::kept_first_choices_share},
                     moe::SecondChoiceLoss{},
                     moe::EntropyLoss{.of = moe::EntropyLoss::Of::mutual_information},
                     moe::DeviceBalanceLoss{.devices = 1, .of = moe::DeviceBalanceLoss::Of::communication},
                     moe::RouterZLoss{}};
}

template <class G>
void assert_padding_changes_nothing_with(const G& gate, Sizes& sizes) {
  const moe::Layer layer{random_router(sizes), gate, random_experts(sizes), losses_of_any_gate(), draw_capacity()};
  assert_padding_changes_nothing(layer, sizes, *rc::gen::arbitrary<bool>());
}

RC_GTEST_PROP(Padding, ScoredTopK, ()) {
  Sizes sizes = draw_sizes();
  const auto score = *rc::gen::element(moe::ScoredTopK::Score::softmax, moe::ScoredTopK::Score::sigmoid,
                                       moe::ScoredTopK::Score::sqrt_softplus);
  assert_padding_changes_nothing_with(moe::ScoredTopK{.k = sizes.k, .score = score, .normalize = sizes.k > 1}, sizes);
}

RC_GTEST_PROP(Padding, NumbersOfExpertsByToken, ()) {
  Sizes sizes = draw_sizes();
  if (*rc::gen::arbitrary<bool>())
    assert_padding_changes_nothing_with(moe::TopP{.p = 0.6}, sizes);
  else
    assert_padding_changes_nothing_with(moe::Threshold{}, sizes);
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
  const auto priority = *rc::gen::element(moe::Priority::best_weight, moe::Priority::weight, moe::Priority::random);
  assert_padding_changes_nothing_with(moe::Prioritized{sizes.top_k, priority}, sizes);
}

RC_GTEST_PROP(Padding, SampledAndReroutedChoices, ()) {
  Sizes sizes = draw_sizes();
  if (*rc::gen::arbitrary<bool>())
    assert_padding_changes_nothing_with(moe::SparseMixer{.k = sizes.k, .band = 0.5}, sizes);
  else
    assert_padding_changes_nothing_with(
        moe::NoTokenLeftBehind{.top_k = {.k = sizes.k, .weights = moe::ChoiceWeights::probabilities}}, sizes);
}

}  // namespace padding_test
}  // namespace properties
