// Learning rates over the steps of a run.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// The same rate throughout.
struct ConstantSchedule {
  double rate;

  double at(std::int64_t) const { return rate; }
};

/// Linear up to `peak` over the first `warmup` steps (the first has peak / warmup), then half a cosine down to `floor`
/// at step `total`, and `floor` from there on.
struct CosineSchedule {
  double peak;
  std::int64_t total;
  std::int64_t warmup = 0;
  double floor = 0;

  /// The rate of step 0, 1, ... Throws std::invalid_argument unless 0 <= warmup < total and 0 <= floor <= peak.
  double at(std::int64_t step) const {
    require(warmup >= 0 && warmup < total, "CosineSchedule: ", warmup, " steps of warm-up of ", total);
    require(floor >= 0 && floor <= peak, "CosineSchedule: floor ", floor, ", it must be in [0, ", peak, "]");
    if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
    if (step >= total) return floor;
    const double done = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
    return floor + (peak - floor) * (1 + std::cos(std::numbers::pi * done)) / 2;
  }
};

/// Linear up to `peak` over the first `warmup` steps, `peak` until `decay` steps are left of `total`, then down to
/// `floor` (warm-up, stable, decay: Hu et al. 2024, MiniCPM). Training can go on from any step before the decay.
struct StableSchedule {
  enum class Decay {
    linear,
    root,  ///< peak - (peak - floor) sqrt(share done) (Haegele et al. 2024)
  };

  double peak;
  std::int64_t total;
  std::int64_t warmup = 0;
  std::int64_t decay = 0;
  double floor = 0;
  Decay shape = Decay::linear;

  /// The rate of step 0, 1, ... Throws std::invalid_argument unless warmup and decay are 0 or more and warmup + decay
  /// <= total, and 0 <= floor <= peak.
  double at(std::int64_t step) const {
    require(warmup >= 0 && decay >= 0 && warmup <= total && decay <= total - warmup, "StableSchedule: ", warmup,
            " steps of warm-up and ", decay, " of decay, of ", total);
    require(floor >= 0 && floor <= peak, "StableSchedule: floor ", floor, ", it must be in [0, ", peak, "]");
    if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
    if (step < total - decay) return peak;
    if (step >= total) return floor;
    const double done = static_cast<double>(step - (total - decay)) / static_cast<double>(decay);
    return peak - (peak - floor) * (shape == Decay::linear ? done : std::sqrt(done));
  }
};

MOE_NAMESPACE_END
