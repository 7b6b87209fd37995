// The load-balance loss of GShard and Switch, and its relatives.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/loss/choice_count.hpp"
#include "moe/loss/groups.hpp"
#include "moe/routing/gate_properties.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// E * sum_e f_e P_e: P_e the mean over tokens of the probability of e, f_e the share of tokens that chose e, a
/// constant for the gradient (Lepikhin et al. 2020, algorithm 1; Fedus et al. 2021, eq. 4 to 6). Choices count before
/// dropping, where nothing else is said. Without padding; 0 for an empty batch. GShard's text divides by E^2: scale the
/// coefficient. With expert choice, whose ranks are places in an expert's list, tokens have no first choices: use
/// all_choices there; the default would count one token for each expert.
struct LoadBalanceLoss {
  using Count = ChoiceCount;
  enum class Scope {
    batch,     ///< f and P over all tokens (micro-batch)
    sequence,  ///< f and P over each group of the batch, and the mean over groups (DeepSeek-V2 and V3 with
               ///< all_choices_share, Megatron-Core's seq_aux_loss, Switch in transformers)
  };

  /// What earlier micro-batches of the same step add to f: their counts by expert, and what these are divided by.
  struct Earlier {
    Vector<double> count_E = {};  ///< Empty: there were none.
    double total = 0;
  };

  double coefficient = 1e-2;
  Count count = Count::first_choices;
  Scope scope = Scope::batch;
  Earlier earlier = {};

  static constexpr std::string_view name() { return "load_balance"; }

  /// Throws std::invalid_argument if the loss counts by plain_top_k_share and the gate chooses more experts for some
  /// tokens than for others.
  template <class G>
  void check(Index, const G& gate) const {
    require(count != Count::plain_top_k_share || !detail::choices_differ(gate), detail::not_fixed_number);
  }

  /// Adds this pass to `earlier`: f is then over the whole batch, while P and the gradient are the present
  /// micro-batch's (Megatron-Core's global_aux_loss). After each micro-batch, loss.add_earlier(tape.routing); after a
  /// step, loss.earlier = {}. Layers counted together (transformers' Mixtral family): in each layer's backward pass
  /// `earlier` is what the other layers chose, and the coefficient is divided by the number of layers.
  /// Throws std::invalid_argument, with nothing changed, if `earlier` is of another number of experts.
  template <class S>
  void add_earlier(const Routing<S>& routing) {
    routing.check();
    if (routing.choices.empty()) return;
    const Index experts = routing.experts(), groups = routing.tokens() / group_size(routing);
    Buffer<Matrix<S>> count_GE;
    std::vector<Index> indices;
    detail::count_choices(routing, count, groups, count_GE, indices);
    require(earlier.count_E.size() == 0 || earlier.count_E.size() == experts, "LoadBalanceLoss: earlier counts of ",
            earlier.count_E.size(), " experts, the routing has ", experts);
    if (earlier.count_E.size() == 0) earlier.count_E = Vector<double>::Zero(experts);
    double counted = 0;
    for (Index i = 0; i < groups * experts; ++i) {
      const auto count_here = static_cast<double>(count_GE.data()[i]);
      earlier.count_E.data()[i % experts] += count_here;
      counted += count_here;
    }
    earlier.total += detail::is_share(count) ? counted : static_cast<double>(routing.valid_tokens);
  }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    detail::Wide<S> sum = 0;
    Buffer<Matrix<S>> slope_GE;
    std::vector<Index> indices;
    for_each_token(routing, slope_GE, indices, [&](Index t, const S* slope_E) {
      sum += detail::dot_rows(detail::row_at(routing.probabilities_TE, t), slope_E, routing.experts());
    });
    return static_cast<S>(sum);
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    auto& workspace = drouting.workspace;
    for_each_token(routing, workspace.rows_TE, workspace.indices, [&](Index t, const S* slope_E) {
      detail::add_scaled_row(scale, slope_E, routing.experts(), detail::row_at(drouting.probabilities_TE, t));
    });
  }

 private:
  template <class S>
  Index group_size(const Routing<S>& routing) const {
    return scope == Scope::batch ? routing.tokens() : routing.rows_of_group();
  }

  /// Calls f(token, d loss / d p of its group): E f / (tokens of the group) / (groups that have a token).
  template <class S, class F>
  void for_each_token(const Routing<S>& routing, Buffer<Matrix<S>>& slope_GE, std::vector<Index>& indices,
                      F&& f) const {
    if (routing.tokens() == 0) return;
    const Index experts = routing.experts(), size = group_size(routing), groups = routing.tokens() / size;
    detail::count_choices(routing, count, groups, slope_GE, indices);
    const bool has_earlier = earlier.count_E.size() > 0;
    require(!has_earlier || (groups == 1 && earlier.count_E.size() == experts), "LoadBalanceLoss: earlier counts of ",
            earlier.count_E.size(), " experts for ", experts, " experts and ", groups, " groups, which must be one");
    if (routing.choices.empty()) return;
    const Index used = detail::count_group_tokens(routing, size, indices);
    for (Index g = 0; g < groups; ++g) {
      S* slope_E = detail::row_at(slope_GE, g);
      const auto tokens = static_cast<S>(indices[static_cast<std::size_t>(g)]);
      S chosen = 0;
      for (Index e = 0; e < experts; ++e) chosen += slope_E[e];
      const S present = detail::is_share(count) ? chosen : tokens;
      const S counted = present + static_cast<S>(earlier.total);
      const S averaged = count == Count::kept_first_choices_share ? present : tokens;
      if (has_earlier)
        for (Index e = 0; e < experts; ++e) slope_E[e] += static_cast<S>(earlier.count_E.data()[e]);
      const bool any = averaged > 0 && counted > 0;
      const S factor = any ? static_cast<S>(experts) / counted / (averaged * static_cast<S>(used)) : S(0);
      detail::set_scaled_row(factor, slope_E, experts, slope_E);
    }
    for (Index g = 0; g < groups; ++g)
      for (Index t = g * size; t < (g + 1) * size; ++t)
        if (routing.is_valid(t)) f(t, detail::row_at(slope_GE, g));
  }
};

MOE_NAMESPACE_END
