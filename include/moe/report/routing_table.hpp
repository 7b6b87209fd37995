// Looking at routing decisions: statistics beyond the load, a table for other programs, and a heat map to look at.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/routing/plan.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// What one pass decided, in numbers.
struct RoutingStatistics {
  Index tokens = 0;  ///< Without padding.
  Index sent = 0, dropped = 0, unsent = 0;
  double experts_per_token = 0;  ///< Slots / tokens.
  Index tokens_without_expert = 0;
  /// Effective: the capacity of all experts and groups, in slots / sent choices; 0 if nothing was sent, infinite
  /// without a capacity.
  double capacity_factor = 0;
  double mean_entropy = 0;        ///< Mean over tokens of H(p_t), in nats: 0 if each is sure.
  double entropy_of_mean = 0;     ///< H(mean of p_t): ln E if the experts are used evenly.
  double mutual_information = 0;  ///< Their difference: how much is known of the expert once the token is known.
};

template <class S>
RoutingStatistics statistics_of(const Routing<S>& routing, const Plan<S>& plan) {
  require(plan.tokens() == routing.tokens() || (routing.tokens() == 0 && plan.tokens() < 0),
          "statistics_of: a routing of ", routing.tokens(), " tokens and a plan of ", plan.tokens());
  RoutingStatistics s;
  s.tokens = routing.valid_tokens;
  s.dropped = static_cast<Index>(plan.dropped_choices.size());
  s.sent = plan.slots() + s.dropped;
  s.unsent = plan.unsent;
  double capacity = 0;
  for (const Index slots : plan.capacity_of_group) capacity += static_cast<double>(slots * plan.experts());
  if (s.sent > 0)
    s.capacity_factor =
        plan.is_limited ? capacity / static_cast<double>(s.sent) : std::numeric_limits<double>::infinity();
  if (s.tokens == 0) return s;
  const auto count = static_cast<double>(s.tokens);
  s.experts_per_token = static_cast<double>(plan.slots()) / count;
  Vector<double> mean_E = Vector<double>::Zero(routing.experts());
  const auto term = [](double p) { return p > 0 ? -p * std::log(p) : 0.0; };
  for (Index t = 0; t < routing.tokens(); ++t) {
    if (!routing.is_valid(t)) continue;
    const auto at = static_cast<std::size_t>(t);
    s.tokens_without_expert += plan.first_of_token[at] == plan.first_of_token[at + 1] ? 1 : 0;
    for (Index e = 0; e < routing.experts(); ++e) {
      const auto p = static_cast<double>(routing.probabilities_TE(t, e));
      s.mean_entropy += term(p) / count;
      mean_E(e) += p / count;
    }
  }
  for (Index e = 0; e < routing.experts(); ++e) s.entropy_of_mean += term(mean_E(e));
  s.mutual_information = s.entropy_of_mean - s.mean_entropy;
  return s;
}

inline std::ostream& operator<<(std::ostream& out, const RoutingStatistics& s) {
  const std::string capacity =
      !detail::has_finite_bits(s.capacity_factor)
          ? "no limit of capacity"
          : detail::joined_to(out.precision(), "effective capacity factor ", s.capacity_factor);
  return out << detail::joined_to(out.precision(), s.tokens, " tokens, ", s.sent, " choices sent, ", s.dropped,
                                  " dropped over the capacity, ", s.unsent, " not sent; ", s.experts_per_token,
                                  " experts per token, ", s.tokens_without_expert, " tokens without any; ", capacity,
                                  "; entropy of a token ", s.mean_entropy, ", of all ", s.entropy_of_mean,
                                  ", mutual information ", s.mutual_information);
}

/// One line a choice, in order of priority: token,expert,rank,weight,fate. Numbers are written alike whatever the
/// stream's locale and flags.
template <class S>
void write_routing_csv(std::ostream& out, const Routing<S>& routing) {
  std::string text = "token,expert,rank,weight,fate\n";
  for (const Choice<S>& c : routing.choices) {
    text += detail::joined(c.token, ",", c.expert, ",", c.rank, ",");
    detail::append(text, c.weight, std::numeric_limits<S>::max_digits10);
    text += c.fate == Fate::sent ? ",sent\n" : c.fate == Fate::unsent ? ",unsent\n" : ",dropped\n";
  }
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

/// Slots by class of token (rows, `class_of_token` in 0 .. classes - 1) and expert (columns). Throws
/// std::invalid_argument if there is not one label for each token, or a label out of range.
template <class S>
Matrix<double> count_by_class(const Plan<S>& plan, std::span<const Index> class_of_token, Index classes) {
  require(static_cast<Index>(class_of_token.size()) == plan.tokens(), "count_by_class: ", class_of_token.size(),
          " labels for ", plan.tokens(), " tokens");
  require(classes >= 0, "count_by_class: ", classes, " classes");
  Matrix<double> count = Matrix<double>::Zero(classes, plan.experts());
  for (Index e = 0; e < plan.experts(); ++e)
    for (Index slot = plan.begin_of(e); slot < plan.begin_of(e) + plan.rows_of(e); ++slot) {
      const Index token = plan.token[static_cast<std::size_t>(slot)];
      const Index label = class_of_token[static_cast<std::size_t>(token)];
      require(label >= 0 && label < classes, "count_by_class: token ", token, " has label ", label, " of ", classes);
      count(label, e) += 1;
    }
  return count;
}

MOE_NAMESPACE_END
