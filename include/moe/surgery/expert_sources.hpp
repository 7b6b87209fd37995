// What the experts of a new list are made of: the one description of every rearrangement.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// A share of an old expert. It must not be negative, since Adam's second moments are mixed by it.
struct ExpertShare {
  Index expert;
  double share = 1;
};

/// New expert i is the sum of `parents[i]`: a copy of one old expert, a mean of several, or, if there are none, a
/// newcomer.
struct ExpertSources {
  Index old_count = 0;
  std::vector<std::vector<ExpertShare>> parents;

  /// Copies: new expert i is old expert list[i].
  static ExpertSources copies(Index old_count, const std::vector<Index>& list) {
    ExpertSources sources{old_count, {}};
    for (const Index e : list) sources.parents.push_back({{e}});
    return sources;
  }

  /// The old list as it is.
  static ExpertSources all(Index old_count) {
    ExpertSources sources{old_count, {}};
    for (Index e = 0; e < old_count; ++e) sources.parents.push_back({{e}});
    return sources;
  }

  Index count() const { return static_cast<Index>(parents.size()); }

  /// Throws std::invalid_argument unless there is a new expert, and every source an old one.
  void check() const {
    require(!parents.empty(), "ExpertSources: no expert would be left");
    for (const auto& own : parents)
      for (const auto& [expert, share] : own) {
        require(expert >= 0 && expert < old_count, "ExpertSources: expert ", expert, ", there are ", old_count);
        require(detail::has_finite_bits(share) && share >= 0, "ExpertSources: a share of ", share,
                ", it must be finite and 0 or more");
      }
  }
};

namespace detail {

inline bool is_copy(const std::vector<ExpertShare>& parents) {
  return parents.size() == 1 && parents.front().share == 1;
}

/// For what is sent to experts by number (hash tables, recorded choices): the new experts, its heirs, that take over
/// from an old expert. Several heirs take turns. For an old expert without heirs all new experts take turns.
class Heirs {
 public:
  explicit Heirs(const ExpertSources& sources)
      : heirs_(static_cast<std::size_t>(sources.old_count)), next_(heirs_.size()) {
    for (std::size_t i = 0; i < sources.parents.size(); ++i)
      for (const ExpertShare& parent : sources.parents[i])
        heirs_[static_cast<std::size_t>(parent.expert)].push_back(static_cast<Index>(i));
    for (Index i = 0; i < sources.count(); ++i) all_.push_back(i);
  }

  /// Throws std::invalid_argument if there was no such expert.
  bool any(Index old_expert) const {
    require(old_expert >= 0 && old_expert < static_cast<Index>(heirs_.size()),
            "rearrange_experts: a gate names expert ", old_expert, ", there are ", heirs_.size());
    return !heirs_[static_cast<std::size_t>(old_expert)].empty();
  }

  Index take(Index old_expert) {
    const auto e = static_cast<std::size_t>(old_expert);
    const bool has_heirs = any(old_expert);
    const std::vector<Index>& heirs = has_heirs ? heirs_[e] : all_;
    return heirs[(has_heirs ? next_[e] : next_of_all_)++ % heirs.size()];
  }

 private:
  std::vector<std::vector<Index>> heirs_;
  std::vector<std::size_t> next_;
  std::vector<Index> all_;
  std::size_t next_of_all_ = 0;
};

}  // namespace detail

MOE_NAMESPACE_END
