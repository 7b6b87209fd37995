// The updates of an optimiser's step: listed by a walk over the parameters, and made once the walk is done. A walk
// allocates names, and one that changed parameters by itself could stop half way.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/packet.hpp"
#include "moe/core/parameter_view.hpp"
#include "moe/optim/frozen.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Entries of a parameter, of its gradient and of up to two moments, where each begins.
struct EntriesOfStep {
  void* parameter;
  const void* slope;
  void* moments[2];

  EntriesOfStep shifted(Index begin, std::size_t bytes) const {
    const auto offset = static_cast<std::size_t>(begin) * bytes;
    const auto moved = [=](void* data) -> void* {
      return data != nullptr ? static_cast<char*>(data) + offset : nullptr;
    };
    return {moved(parameter), static_cast<const char*>(slope) + offset, {moved(moments[0]), moved(moments[1])}};
  }
};

/// The runs of entries that a step by `Rule`, an optimiser's settings in that step, updates.
template <class Rule>
struct UpdatesOf {
  using Update = void (*)(const Rule& rule, const EntriesOfStep& entries, Index count);

  struct Run {
    Update update;
    EntriesOfStep entries;
    Index count;
  };
  std::vector<Run> runs;
  bool is_finite = true;  ///< The gradient: else no update is to be made.

  void make(const Rule& rule) const {
    for (const Run& run : runs) run.update(rule, run.entries, run.count);
  }
};

/// Walks a model, its gradient and its moments: lists what is trained, and looks whether the gradient is finite.
template <class Rule>
struct UpdateLister {
  const Frozen& frozen;
  UpdatesOf<Rule>& updates;

  template <class Parameter, class Slope, class... Moments>
  void operator()(std::string_view name, Parameter& parameter, const Slope& slope, Moments&... moments) const {
    using S = std::remove_pointer_t<decltype(parameter.data())>;
    updates.is_finite = updates.is_finite && Rule::template accepts<S>(slope.data(), static_cast<Index>(slope.size()));
    add(name, view_of(parameter), {parameter.data(), slope.data(), {moments.data()...}}, Rule::template update<S>);
  }

 private:
  void add(std::string_view name, const ParameterView& view, const EntriesOfStep& entries,
           typename UpdatesOf<Rule>::Update update) const {
    frozen.visit_trained_runs(name, view, [&](Index begin, Index count) {
      updates.runs.push_back({update, entries.shifted(begin, view.type->bytes), count});
    });
  }
};

/// Calls f(i, Packet()), or f(i, S()) where no whole packet is left, for the entries from i on.
template <class S, class F>
EIGEN_ALWAYS_INLINE void for_each_packet(Index count, F&& f) {
  using Packets = PacketsOf<S>;
  Index i = 0;
  for (; i + Packets::lanes <= count; i += Packets::lanes) f(i, typename Packets::Packet());
  for (; i < count; ++i) f(i, S());
}

/// Whether all values that measure(entry) gives are finite. A loop of a fixed number of integers: compilers make packet
/// code of it.
template <class S, class Measure>
bool all_finite(const S* entries, Index count, Measure&& measure) {
  Index i = 0;
  if constexpr (has_known_bits<S>) {
    using Bits = decltype(magnitude_bits(S()));
    for (; i + panel_width <= count; i += panel_width) {
      Bits magnitudes[panel_width];
      for (Index k = 0; k < panel_width; ++k) magnitudes[k] = magnitude_bits(S(measure(entries[i + k])));
      bool finite = true;
      for (Index k = 0; k < panel_width; ++k) finite &= magnitudes[k] < bits_of_infinity<S>;
      if (!finite) return false;
    }
  }
  for (; i < count; ++i)
    if (!has_finite_bits(S(measure(entries[i])))) return false;
  return true;
}

}  // namespace detail

MOE_NAMESPACE_END
