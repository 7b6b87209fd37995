// Properties of decisions and plans.
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "draws.hpp"

namespace properties {
namespace routing_test {

using Routing = moe::Routing<double>;

template <class G>
Routing route(const G& gate, const Matrix& logits_TE) {
  Routing routing;
  const moe::Batch<double> batch = logits_TE;  // gates look at the logits alone
  routing.reset(batch, logits_TE.cols());
  routing.logits_TE = logits_TE;
  gate.route(batch, routing, nullptr);
  return routing;
}

/// Every token's k experts are different ones and exist.
void assert_choices_exist(const Routing& routing, Index k) {
  RC_ASSERT(static_cast<Index>(routing.choices.size()) == routing.tokens() * k);
  std::set<std::pair<Index, Index>> pairs;
  for (const auto& choice : routing.choices) {
    RC_ASSERT((choice.expert >= 0 && choice.expert < routing.experts()));
    RC_ASSERT((choice.token >= 0 && choice.token < routing.tokens()));
    RC_ASSERT(pairs.insert({choice.token, choice.expert}).second);
  }
}

RC_GTEST_PROP(Routing, WeightsSumToOneWhereNormalized, ()) {
  Sizes sizes = draw_sizes();
  const double spread = *rc::gen::element(0.0, 1.0, 100.0, 1e300);
  const Routing routing = route(sizes.top_k, support::random_matrix(sizes.tokens, sizes.experts, sizes.rng, spread));
  assert_choices_exist(routing, sizes.k);
  moe::Vector<double> sum_T = moe::Vector<double>::Zero(sizes.tokens);
  for (const auto& choice : routing.choices) sum_T(choice.token) += choice.weight;
  const bool normalized = sizes.top_k.weights != moe::ChoiceWeights::probabilities() || sizes.k == sizes.experts;
  for (Index t = 0; t < sizes.tokens; ++t)
    RC_ASSERT((normalized ? is_close(sum_T(t), 1) : sum_T(t) > 0 && sum_T(t) <= 1 + 1e-12));
}

/// Any bit pattern as a logit, NaN of every payload and infinities among them.
RC_GTEST_PROP(Routing, AnyBitsChooseExistingExpertsAndLeaveOtherRowsAlone, ()) {
  Sizes sizes = draw_sizes(1);
  const Matrix sane_TE = support::random_matrix(sizes.tokens, sizes.experts, sizes.rng);
  Matrix logits_TE = sane_TE;
  const auto odd = *rc::gen::inRange<Index>(0, sizes.tokens);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (Index e = 0; e < sizes.experts; ++e)
    logits_TE(odd, e) = *rc::gen::oneOf(rc::gen::map(rc::gen::arbitrary<std::uint64_t>(),
                                                     [](std::uint64_t bits) { return std::bit_cast<double>(bits); }),
                                        rc::gen::element(infinity, -infinity, std::nan(""), 0.0, 1e308));
  const Routing sane = route(sizes.top_k, sane_TE), routing = route(sizes.top_k, logits_TE);
  assert_choices_exist(routing, sizes.k);
  for (std::size_t i = 0; i < routing.choices.size(); ++i) {
    const auto &a = routing.choices[i], &b = sane.choices[i];
    RC_ASSERT(a.token == b.token);
    if (a.token != odd) RC_ASSERT((a.expert == b.expert && support::same_bits(a.weight, b.weight)));
  }
  for (Index t = 0; t < sizes.tokens; ++t)
    if (t != odd)
      RC_ASSERT(support::same_bits(Matrix(routing.probabilities_TE.row(t)), Matrix(sane.probabilities_TE.row(t))));
}

RC_GTEST_PROP(Routing, ExpertChoiceFillsEveryExpertEvenly, ()) {
  Sizes sizes = draw_sizes(1);
  const moe::ExpertChoice gate{.factor = static_cast<double>(sizes.k)};
  const Routing routing = route(gate, support::random_matrix(sizes.tokens, sizes.experts, sizes.rng));
  std::set<std::pair<Index, Index>> pairs;
  std::vector<Index> taken(static_cast<std::size_t>(sizes.experts), 0);
  for (const auto& choice : routing.choices) {
    RC_ASSERT(pairs.insert({choice.token, choice.expert}).second);
    RC_ASSERT(choice.weight == routing.probabilities_TE(choice.token, choice.expert));
    ++taken[static_cast<std::size_t>(choice.expert)];
  }
  for (const Index count : taken) RC_ASSERT(count == gate.slots(sizes.tokens, sizes.experts));
}

/// A plan under a drawn capacity, in drawn groups.
struct Planned {
  Sizes sizes = draw_sizes();
  Index groups = *rc::gen::inRange<Index>(1, 4);
  Index group_size = sizes.tokens;
  Routing routing;
  moe::Plan<double> plan;

  explicit Planned(const moe::Capacity& capacity) {
    const Matrix logits_TE = support::random_matrix(groups * group_size, sizes.experts, sizes.rng);
    routing = route(sizes.top_k, logits_TE);
    moe::Batch<double> batch = logits_TE;
    batch.group_size = group_size;
    plan.build(batch, routing, capacity, true);
  }
};

RC_GTEST_PROP(Plan, CapacityIsNeverExceededAndEveryChoiceIsAccountedFor, ()) {
  const bool by_factor = *rc::gen::arbitrary<bool>();
  const double factor = *rc::gen::element(0.01, 0.3, 0.7, 1.0, 1.25, 4.0);
  const auto exactly = *rc::gen::inRange<Index>(0, 6);
  const moe::Capacity capacity = by_factor ? moe::Capacity::factor(factor) : moe::Capacity::exactly(exactly);
  const Planned planned(capacity);
  const auto& plan = planned.plan;
  const auto choices = static_cast<Index>(planned.routing.choices.size());
  RC_ASSERT(plan.slots() + static_cast<Index>(plan.dropped_choices.size()) == choices);

  const Index made = planned.group_size * planned.sizes.k;  // in each group
  const Index slots = capacity.slots(planned.sizes.tokens, made, planned.sizes.experts, true);
  const Index wanted = by_factor ? static_cast<Index>(std::ceil(factor * static_cast<double>(made) /
                                                                static_cast<double>(planned.sizes.experts)))
                                 : exactly;
  RC_ASSERT(slots == wanted);
  moe::Matrix<Index> taken = moe::Matrix<Index>::Zero(planned.groups, planned.sizes.experts);
  std::vector<bool> seen(static_cast<std::size_t>(choices), false);
  for (Index e = 0; e < plan.experts(); ++e)
    for (Index slot = plan.begin_of(e); slot < plan.begin_of(e + 1); ++slot) {
      const auto at = static_cast<std::size_t>(slot);
      const auto& choice = planned.routing.choices[static_cast<std::size_t>(plan.choice[at])];
      RC_ASSERT((choice.expert == e && choice.token == plan.token[at] && choice.weight == plan.weight[at]));
      RC_ASSERT(!seen[static_cast<std::size_t>(plan.choice[at])]);
      seen[static_cast<std::size_t>(plan.choice[at])] = true;
      ++taken(planned.group_size > 0 ? choice.token / planned.group_size : 0, e);
    }
  for (const Index count : taken.reshaped()) RC_ASSERT(count <= slots);
  // Dropped: only where the expert was full, and never before one that was kept.
  for (const Index i : plan.dropped_choices) {
    const auto& choice = planned.routing.choices[static_cast<std::size_t>(i)];
    const Index group = choice.token / planned.group_size;
    RC_ASSERT((!seen[static_cast<std::size_t>(i)] && taken(group, choice.expert) == slots));
    for (Index slot = plan.begin_of(choice.expert); slot < plan.begin_of(choice.expert + 1); ++slot)
      if (plan.token[static_cast<std::size_t>(slot)] / planned.group_size == group)
        RC_ASSERT(plan.choice[static_cast<std::size_t>(slot)] < i);
  }
}

RC_GTEST_PROP(Plan, RoomForEveryTokenDropsNothing, ()) {
  const Planned limited(moe::Capacity::exactly(25));
  RC_ASSERT(limited.plan.dropped_choices.empty());
  const moe::Load load = moe::load_of(limited.plan);
  RC_ASSERT((load.dropped == 0 && load.chosen == load.received));
  RC_ASSERT(load.entropy <= std::log(static_cast<double>(limited.sizes.experts)) + 1e-12);
  RC_ASSERT((load.max_violation >= 0 && load.max_violation <= static_cast<double>(limited.sizes.experts) - 1));
}

/// Both orders of a plan list the same slots.
RC_GTEST_PROP(Plan, BothOrdersAgree, ()) {
  const Planned planned(moe::Capacity::factor(0.8));
  const auto& plan = planned.plan;
  std::vector<Index> sorted = plan.token_slots;
  std::sort(sorted.begin(), sorted.end());
  for (Index slot = 0; slot < plan.slots(); ++slot) RC_ASSERT(sorted[static_cast<std::size_t>(slot)] == slot);
  for (Index t = 0; t < plan.tokens(); ++t)
    for (Index i = plan.first_of_token[static_cast<std::size_t>(t)];
         i < plan.first_of_token[static_cast<std::size_t>(t) + 1]; ++i)
      RC_ASSERT(plan.token[static_cast<std::size_t>(plan.token_slots[static_cast<std::size_t>(i)])] == t);
}

}  // namespace routing_test
}  // namespace properties
