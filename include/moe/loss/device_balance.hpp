// Balance over devices that hold several experts each: DeepSeek-V2's device-level and communication losses.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// sum over devices of f' P', with experts divided into `devices` runs of neighbours, P' the sum over a device of
/// P_e (means of probabilities), over each group of the batch and then the mean over groups (DeepSeek-V2, eq. 26 to
/// 31).
struct DeviceBalanceLoss {
  enum class Of {
    computation,    ///< f' = mean over the device of f_e = E / (k T) * choices of e
    communication,  ///< f' = devices / (M T) * tokens that are sent to the device, each counted once; M = min(devices,
                    ///< k)
  };

  double coefficient = 1e-2;
  Index devices = 1;
  Of of = Of::computation;

  static constexpr std::string_view name() { return "device_balance"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    Vector<S> slope_E(routing.experts());
    S sum = 0;
    for_each_group(routing, slope_E, [&](Index t) { sum += routing.probabilities_TE.row(t).dot(slope_E); });
    return sum;
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    for_each_group(routing, drouting.workspace.expert_E, [&](Index t) {
      drouting.probabilities_TE.row(t) += scale * drouting.workspace.expert_E.transpose();
    });
  }

 private:
  /// Calls f(t) for each token, with d loss / d p_t in slope_E: f' of the expert's device / tokens / groups.
  template <class S, class F>
  void for_each_group(const Routing<S>& routing, Vector<S>& slope_E, F&& f) const {
    detail::require(devices >= 1 && routing.experts() % devices == 0, "DeviceBalanceLoss: ", routing.experts(),
                    " experts do not divide into ", devices, " devices");
    if (routing.valid_tokens == 0 || routing.choices.empty()) return;
    const Index size = routing.group_size > 0 ? routing.group_size : routing.tokens();
    const Index groups = routing.tokens() / size, on_device = routing.experts() / devices;
    Vector<S> count_D(devices);
    slope_E.resize(routing.experts());
    for (Index g = 0; g < groups; ++g) {
      Index tokens = 0, choices = 0;
      for (Index t = g * size; t < (g + 1) * size; ++t) tokens += routing.is_valid(t) ? 1 : 0;
      count_D.setZero();
      count(routing, g * size, (g + 1) * size, on_device, count_D, choices);
      if (tokens == 0 || choices == 0) continue;
      // E / (k T) / on_device = devices / (k T), and k T is the number of choices.
      const double k = static_cast<double>(choices) / static_cast<double>(tokens);
      const double per = of == Of::computation ? k : (std::min)(static_cast<double>(devices), k);
      const double slope = static_cast<double>(devices) / per / static_cast<double>(tokens);
      for (Index e = 0; e < routing.experts(); ++e)
        slope_E(e) = count_D(e / on_device) * static_cast<S>(slope / static_cast<double>(tokens * groups));
      for (Index t = g * size; t < (g + 1) * size; ++t)
        if (routing.is_valid(t)) f(t);
    }
  }

  template <class S>
  void count(const Routing<S>& routing, Index begin, Index end, Index on_device, Vector<S>& count_D,
             Index& choices) const {
    std::vector<unsigned char> seen(static_cast<std::size_t>((end - begin) * devices), 0);
    for (const Choice<S>& c : routing.choices) {
      if (c.token < begin || c.token >= end) continue;
      ++choices;
      unsigned char& sent = seen[static_cast<std::size_t>((c.token - begin) * devices + c.expert / on_device)];
      if (of == Of::computation || !sent) count_D(c.expert / on_device) += S(1);
      sent = 1;
    }
  }
};

static_assert(AuxiliaryLoss<DeviceBalanceLoss, float>);

MOE_NAMESPACE_END
