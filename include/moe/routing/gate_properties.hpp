// What a gate says of itself; if it does not, what the one says that it holds as `gate`; else what holds for most.
#pragma once

#include <string_view>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Refuses optional members under another name, or in another form: they would be passed over without a word.
template <class G>
constexpr void check_gate_members() {
  static_assert(
      !requires { &G::most_choice; } && !requires { &G::max_choices; } && !requires { &G::choice_differ; } &&
          !requires { &G::choice_differs; } && !requires { &G::accept_noise; },
      "moe: a gate misspells one of most_choices, choices_differ, accepts_noise; see Gate in "
      "moe/concepts.hpp");
  static_assert(
      !requires { &G::check; } || requires(const G gate) { gate.check(Index{}); },
      "moe: check of a gate must be check(experts) const; see Gate in moe/concepts.hpp");
  static_assert(
      !requires { &G::most_choices; } || requires(const G gate) { Index{gate.most_choices(Index{})}; },
      "moe: most_choices of a gate must be most_choices(experts) const; see Gate in moe/concepts.hpp");
  static_assert(
      !requires { &G::choices_differ; } || requires(const G gate) { bool{gate.choices_differ()}; },
      "moe: choices_differ of a gate must be choices_differ() const; see Gate in moe/concepts.hpp");
  static_assert(
      !requires { &G::accepts_noise; } || requires(const G gate) { bool{gate.accepts_noise(true)}; },
      "moe: accepts_noise of a gate must be accepts_noise(weighs) const; see Gate in moe/concepts.hpp");
}

/// How many experts a token is sent to at most.
template <class G>
Index most_choices(const G& gate, Index experts) {
  check_gate_members<G>();
  if constexpr (requires { gate.most_choices(experts); })
    return gate.most_choices(experts);
  else if constexpr (requires { gate.gate; })
    return most_choices(gate.gate, experts);
  else
    return experts;
}

/// Whether their number differs from token to token.
template <class G>
bool choices_differ(const G& gate) {
  if constexpr (requires { gate.choices_differ(); })
    return gate.choices_differ();
  else if constexpr (requires { gate.gate; })
    return choices_differ(gate.gate);
  else
    return false;
}

/// Whether noise on the logits changes anything: noise that enters the weights too (`weighs`), or that only decides who
/// is chosen.
template <class G>
bool accepts_noise(const G& gate, bool weighs) {
  if constexpr (requires { gate.accepts_noise(weighs); })
    return gate.accepts_noise(weighs);
  else if constexpr (requires { gate.gate; })
    return accepts_noise(gate.gate, weighs);
  else
    return true;
}

/// Throws std::invalid_argument if noise of `name` around the gate would change nothing.
template <class G>
void require_noise_has_an_effect(std::string_view name, const G& gate, bool weighs) {
  require(accepts_noise(gate, weighs), name,
          ": its noise would change nothing, since the gate inside it draws noise of its own or does not look at the "
          "logits");
}

}  // namespace detail

MOE_NAMESPACE_END
