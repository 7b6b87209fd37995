// What a check of gradients is told, and what it found.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace testing {

struct GradientOptions {
  /// The largest error of a tensor, relative to its largest gradient (or to 1e-4, if that is larger).
  double tolerance = 1e-6;
  double step = 1e-4;       ///< Relative to max(1, |value|); a tenth of it where the function bends too much for that.
  Index entries = 400;      ///< How many of a tensor are compared at most; of a larger one so many are drawn.
  double kink_share = 0.2;  ///< If a larger share of a tensor's entries is next to a kink, the check fails.
  std::uint64_t seed = 1;   ///< Draws the upstream gradient and the entries that are compared.
  /// The seed of the tape of a layer, or of an expert that draws; none: an evaluation pass.
  std::optional<std::uint64_t> tape_seed = {};
};

/// What check_gradients found; true if every tensor passed. Print it to see the worst entry.
struct GradientReport {
  double worst = 0;  ///< Largest relative error of a tensor.
  std::string where = "nothing";
  double computed = 0, expected = 0;  ///< There: by the backward pass, and by differences.
  Index checked = 0;                  ///< How many entries were compared.
  Index tensors = 0;                  ///< How many parameters, and the input, they are entries of.
  Index kinks = 0;                    ///< Entries left out, since the function has a kink or a jump there.
  bool passed = true;
  bool differ = false;                   ///< A tensor's error is more than the tolerance.
  std::vector<std::string> faults = {};  ///< In words, where it is known what is wrong.

  explicit operator bool() const { return passed; }

  void add_fault(std::string fault) {
    passed = false;
    faults.push_back(std::move(fault));
  }

  friend std::ostream& operator<<(std::ostream& out, const GradientReport& report) {
    out << (report.passed   ? "gradients agree"
            : report.differ ? "GRADIENTS DIFFER"
                            : "GRADIENTS NOT SHOWN TO AGREE")
        << ": " << report.checked << " entries of " << report.tensors << " tensors, worst relative error "
        << report.worst << " at " << report.where << " (computed " << report.computed << ", expected "
        << report.expected << "), " << report.kinks << " next to kinks";
    for (const std::string& fault : report.faults) out << "; " << fault;
    return out;
  }
};

}  // namespace testing

MOE_NAMESPACE_END
