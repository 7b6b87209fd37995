// The claim, in the numbers of a run: experts beside the dense network, and all models beside n-grams.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "../support/table.hpp"

namespace language_model {

struct Outcome {
  std::string name;
  double active_parameters, bits;  ///< Per byte held out.
};

/// What a run must show.
struct Bounds {
  std::size_t order = 3;  ///< Of the n-grams that every model beats.
  double allowed = 0;     ///< Bits that a model with experts may be behind the dense one.
};

/// A short training shows that all learn and that experts do no harm: seeds differ by up to 0.04 bits either way, and
/// with nearly all choices dropped 0.17 are lost.
inline constexpr Bounds quick_bounds{.order = 1, .allowed = 0.1};

/// Null if there is none, or nothing to compare with it: expert choice sees what comes later.
inline const Outcome* dense_beside(const Outcome& one, const std::vector<Outcome>& all) {
  if (one.name == "dense" || one.name == "expert-choice") return nullptr;
  const auto found = std::find_if(all.begin(), all.end(), [](const Outcome& other) { return other.name == "dense"; });
  return found == all.end() ? nullptr : &*found;
}

/// `n_grams`: bits of those of order 1, 2, ...
inline std::string sentence(const Outcome& one, const std::vector<Outcome>& all, const std::vector<double>& n_grams) {
  using example::fixed;
  std::string text = one.name + ": " + fixed(one.bits, 3) + " bits";
  if (const Outcome* dense = dense_beside(one, all)) {
    const double less = dense->bits - one.bits;
    text += ", " + fixed(less < 0 ? -less : less, 3) + (less < 0 ? " more" : " less") + " than dense, at " +
            fixed(one.active_parameters) + " active parameters (dense: " + fixed(dense->active_parameters) + ")";
  }
  for (std::size_t i = 0; i < n_grams.size(); ++i)
    text += (i == 0 ? "; " : ", ") + std::string(one.bits < n_grams[i] ? "below" : "above") +
            (i == 0 ? " n-grams of order " : " ") + std::to_string(i + 1) + " (" + fixed(n_grams[i], 3) + ")";
  return text + '.';
}

/// What does not hold.
inline std::vector<std::string> faults(const std::vector<Outcome>& all, const std::vector<double>& n_grams,
                                       const Bounds& bounds) {
  std::vector<std::string> list;
  for (const Outcome& one : all) {
    if (!(one.bits < n_grams.at(bounds.order - 1)))
      list.push_back(one.name + " has not beaten n-grams of order " + std::to_string(bounds.order));
    const Outcome* dense = dense_beside(one, all);
    if (dense && !(one.bits < dense->bits + bounds.allowed))
      list.push_back(one.name + " is not better than dense" +
                     (bounds.allowed > 0 ? ", nor within " + example::fixed(bounds.allowed, 2) + " bits of it" : ""));
  }
  return list;
}

}  // namespace language_model
