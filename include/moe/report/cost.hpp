// What a layer holds, and what one pass of it took: parameters, active parameters, multiply-adds, bytes.
#pragma once

#include <cstddef>
#include <ostream>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/layer/checks.hpp"

MOE_NAMESPACE_BEGIN

/// Sums over a forward pass; print it. A weight matrix is taken to cost one multiply-add an entry and row, unless the
/// part says otherwise by a member `multiply_adds() const` (of a row). A backward pass takes about twice as many.
struct Cost {
  Index tokens = 0;  ///< Without padding.
  Index parameters = 0, bytes = 0;
  Index bytes_used = 0;      ///< Of the parameters of parts that got rows: memory that the pass had to read.
  Index parameter_uses = 0;  ///< Sum over tokens of the parameters that worked on it.
  Index multiply_adds = 0;   ///< Of all tokens.

  /// Of a token, on average.
  double active_parameters() const { return per_token(parameter_uses); }
  double multiply_adds_per_token() const { return per_token(multiply_adds); }

  Cost& operator+=(const Cost& other) {
    tokens += other.tokens, parameters += other.parameters, bytes += other.bytes, bytes_used += other.bytes_used;
    parameter_uses += other.parameter_uses, multiply_adds += other.multiply_adds;
    return *this;
  }

  friend std::ostream& operator<<(std::ostream& out, const Cost& cost) {
    const double share = cost.parameters > 0 ? cost.active_parameters() / static_cast<double>(cost.parameters) : 0;
    return out << detail::joined_to(out.precision(), cost.parameters, " parameters (", cost.bytes, " bytes), ",
                                    cost.active_parameters(), " (", 100 * share, " %) active for a token; ",
                                    cost.multiply_adds_per_token(), " multiply-adds a token; ", cost.tokens,
                                    " tokens used ", cost.bytes_used, " bytes of them");
  }

 private:
  double per_token(Index sum) const { return tokens > 0 ? static_cast<double>(sum) / static_cast<double>(tokens) : 0; }
};

namespace detail {

/// Adds the weights of the part, and of all parts in it, that are no parameters, since they can only be read.
template <class Part>
void add_read_only_weights(const Part& part, Cost& cost) {
  if constexpr (requires { Part::visit_weights(AnyVisitor{}, part); }) {
    Part::visit_weights(
        [&](std::string_view, const auto& weight) {
          if constexpr (requires { weight.bytes(); }) cost.parameters += weight.size(), cost.bytes += weight.bytes();
        },
        part);
  } else if constexpr (requires { part.experts.size(); }) {
    for (const auto& expert : part.experts) add_read_only_weights(expert, cost);
  } else if constexpr (requires {
                         part.layer;
                         part.expert;
                       }) {
    add_read_only_weights(part.layer, cost);
    add_read_only_weights(part.expert, cost);
  } else if constexpr (requires { part.expert.index(); }) {
    part.visit([&](const auto& own, auto) { add_read_only_weights(own, cost); });
  }
}

/// Of a part that worked on so many rows; its parts, if it has any, are not looked at one by one.
template <class Part>
Cost cost_of_rows(const Part& part, Index rows) {
  Cost cost;
  Index weights = 0;
  if constexpr (NamesParameters<Part>)
    for_each_parameter(
        [&](std::string_view, const auto& parameter) {
          using P = std::remove_cvref_t<decltype(parameter)>;
          cost.parameters += parameter.size();
          cost.bytes += parameter.size() * static_cast<Index>(sizeof(*parameter.data()));
          bool is_matrix = true;
          if constexpr (requires { P::IsVectorAtCompileTime; }) is_matrix = !P::IsVectorAtCompileTime;
          if (is_matrix) weights += parameter.size();
        },
        part);
  const Index trained = cost.parameters;
  add_read_only_weights(part, cost);
  weights += cost.parameters - trained;
  if constexpr (requires { part.multiply_adds(); }) weights = part.multiply_adds();
  cost.bytes_used = rows > 0 ? cost.bytes : 0;
  cost.parameter_uses = rows * cost.parameters;
  cost.multiply_adds = rows * weights;
  return cost;
}

/// Of a part, told by its members: a layer, a soft layer, a layer with a shared expert, a variant, or an expert.
template <class Part, class PartTape>
Cost cost_of_part(const Part& part, const PartTape& tape, Index rows) {
  if (rows == 0) return cost_of_rows(part, 0);  // its tape may be of another pass
  Cost cost;
  if constexpr (requires {
                  part.router;
                  part.gate;
                  tape.plan;
                }) {
    require(tape.experts.size() == part.experts.size(), "cost_of: the tape is of a pass of ", tape.experts.size(),
            " experts, the layer has ", part.experts.size());
    require_own_tape("cost_of", tape.layer, part.experts.data());
    cost += cost_of_rows(part.router, rows);
    cost += cost_of_rows(part.gate, rows);
    for (std::size_t e = 0; e < part.experts.size(); ++e)
      cost += cost_of_part(part.experts[e], tape.experts[e], tape.plan.rows_of(static_cast<Index>(e)));
  } else if constexpr (requires {
                         part.slot_PD;
                         tape.logits_TP;
                       }) {
    require(tape.experts.size() == part.experts.size(), "cost_of: the tape is of a pass of ", tape.experts.size(),
            " experts, the layer has ", part.experts.size());
    require_own_tape("cost_of", tape.layer, part.experts.data());
    cost = cost_of_rows(part, rows);  // every token has to do with every expert
    const Index slots_of_expert = tape.y_NO.rows() / static_cast<Index>(part.experts.size());
    cost.multiply_adds = 3 * rows * part.slot_PD.size();  // logits, dispatch, combine
    for (std::size_t e = 0; e < part.experts.size(); ++e)
      cost.multiply_adds += cost_of_part(part.experts[e], tape.experts[e], slots_of_expert).multiply_adds;
  } else if constexpr (requires {
                         part.layer;
                         part.mix;
                         tape.shared;
                       }) {
    cost += cost_of_part(part.layer, tape, rows);
    cost += cost_of_part(part.expert, tape.shared, rows);
    cost += cost_of_rows(part.mix, rows);
  } else if constexpr (requires {
                         part.expert.index();
                         tape.at_hand;
                       }) {
    part.visit([&](const auto& own, auto i) {
      // not at hand if its activations were computed elsewhere
      cost = tape.at_hand == i ? cost_of_part(own, std::get<i>(tape.tapes), rows) : cost_of_rows(own, rows);
    });
  } else {
    cost = cost_of_rows(part, rows);
  }
  return cost;
}

}  // namespace detail

/// Of the pass that `tape` recorded; experts count for the rows that they got, those that are layers as layers.
/// Throws std::invalid_argument if there is none, or the pass was another layer's (a copy is another one).
template <class SomeLayer>
Cost cost_of(const SomeLayer& layer, const typename SomeLayer::Tape& tape) {
  require(tape.width >= 0 && tape.experts.size() > 0, "cost_of: the tape holds no forward pass");
  const Index tokens = tape.valid_tokens();
  Cost cost = detail::cost_of_part(layer, tape, tokens);
  cost.tokens = tokens;
  return cost;
}

MOE_NAMESPACE_END
