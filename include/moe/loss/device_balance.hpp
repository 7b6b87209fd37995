// Balance over devices that hold several experts each: DeepSeek-V2's device-level and communication losses.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/loss/groups.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// sum over devices of f' P', with experts divided into `devices` runs of neighbours, P' the sum over a device of
/// P_e (means of probabilities), over each group of the batch and then the mean over groups that have a token
/// (DeepSeek-V2, eq. 26 to 31).
struct DeviceBalanceLoss {
  enum class Kind {
    computation,    ///< f' = mean over the device of f_e = E / (k T) * choices of e
    communication,  ///< f' = devices / (M T) * tokens that are sent to the device, each counted once; M = min(devices,
                    ///< k)
  };

  double coefficient = 1e-2;
  Index devices = 1;
  Kind kind = Kind::computation;

  static constexpr std::string_view name() { return "device_balance"; }

  /// Throws std::invalid_argument unless so many experts divide into the devices.
  void check(Index experts) const {
    require(devices >= 1 && experts % devices == 0, "DeviceBalanceLoss: ", experts, " experts do not divide into ",
            devices, " devices");
  }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    typename Routing<S>::Workspace workspace;
    detail::Wide<S> sum = 0;
    for_each_token(routing, workspace, [&](Index t, const S* slope_E) {
      sum += detail::dot_rows(detail::row_at(routing.probabilities_TE, t), slope_E, routing.experts());
    });
    return static_cast<S>(sum);
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    for_each_token(routing, drouting.workspace, [&](Index t, const S* slope_E) {
      detail::add_scaled_row(scale, slope_E, routing.experts(), detail::row_at(drouting.probabilities_TE, t));
    });
  }

 private:
  /// Calls f(t, d loss / d p_t) for each token: f' of the expert's device / tokens / groups.
  template <class S, class F>
  void for_each_token(const Routing<S>& routing, typename Routing<S>::Workspace& workspace, F&& f) const {
    const Index experts = routing.experts();
    check(experts);
    if (routing.valid_tokens == 0 || routing.choices.empty()) return;
    const Index size = routing.rows_of_group(), groups = routing.tokens() / size;
    Buffer<Matrix<S>>& slope_GE = workspace.rows_TD;
    count(routing, size, workspace.rows_TE, slope_GE);
    std::vector<Index>& numbers = workspace.indices;  // of each group: tokens, then choices
    const auto used = static_cast<double>(detail::count_group_tokens(routing, size, numbers));
    numbers.resize(static_cast<std::size_t>(2 * groups), Index{0});
    for (const Choice<S>& c : routing.choices) ++numbers[static_cast<std::size_t>(groups + c.token / size)];
    for (Index g = 0; g < groups; ++g) {
      const auto n = static_cast<double>(numbers[static_cast<std::size_t>(g)]);
      const auto choices = static_cast<double>(numbers[static_cast<std::size_t>(groups + g)]);
      if (n == 0 || choices == 0) continue;
      // E / (k T) / on_device = devices / (k T), and k T is the number of choices.
      const double per = kind == Kind::computation ? choices : (std::min)(static_cast<double>(devices) * n, choices);
      S* slope_E = detail::row_at(slope_GE, g);
      detail::set_scaled_row(static_cast<S>(static_cast<double>(devices) / per / n / used), slope_E, experts, slope_E);
      for (Index t = g * size; t < (g + 1) * size; ++t)
        if (routing.is_valid(t)) f(t, static_cast<const S*>(slope_E));
    }
  }

  /// In each expert's column the count of its device.
  template <class S>
  void count(const Routing<S>& routing, Index size, Buffer<Matrix<S>>& sent_TE, Buffer<Matrix<S>>& count_GE) const {
    const Index on_device = routing.experts() / devices;
    count_GE.resize(routing.tokens() / size, routing.experts());
    std::fill_n(count_GE.data(), count_GE.size(), S(0));
    sent_TE.resize(routing.tokens(), devices);  // 1: the token was sent to the device
    std::fill_n(sent_TE.data(), sent_TE.size(), S(0));
    for (const Choice<S>& c : routing.choices) {
      const Index device = c.expert / on_device;
      S& sent = detail::row_at(sent_TE, c.token)[device];
      S* count_E = detail::row_at(count_GE, c.token / size) + device * on_device;
      if (kind == Kind::computation || sent == S(0))
        for (Index e = 0; e < on_device; ++e) count_E[e] += S(1);
      sent = S(1);
    }
  }
};

MOE_NAMESPACE_END
