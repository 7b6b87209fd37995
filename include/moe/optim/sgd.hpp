// Stochastic gradient descent with momentum.
#pragma once

#include <cmath>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/optim/check_step.hpp"
#include "moe/optim/frozen.hpp"
#include "moe/optim/gradient_norm.hpp"

MOE_NAMESPACE_BEGIN

struct SgdOptions {
  double learning_rate = 1e-2;
  double momentum = 0;
  double weight_decay = 0;  ///< Decoupled: parameters shrink by learning_rate * weight_decay.
  bool nesterov = false;
};

/// v <- momentum v + g;  p <- p - learning_rate (v + weight_decay p), with g + momentum v in place of v for Nesterov's.
template <class Model>
class Sgd {
 public:
  SgdOptions options;
  Frozen frozen;

  explicit Sgd(const Model& model, SgdOptions options_ = {}) : options(options_), velocity_(zeros_like(model)) {
    check();
  }

  /// One step; the gradient is left as it is. False, and nothing changed, if the gradient has an entry that is not
  /// finite. Throws std::invalid_argument if shapes or options do not fit; whatever is thrown,
  /// also std::bad_alloc, nothing has changed.
  [[nodiscard]] bool step(Model& model, const Model& gradient) {
    check();
    detail::check_step("Sgd::step", frozen, model, gradient, velocity_);
    if (!detail::all_finite(gradient)) return false;
    detail::Updates updates;
    for_each_parameter(
        [&](std::string_view name, auto& parameter, const auto& slope, auto& velocity) {
          using S = typename std::remove_cvref_t<decltype(parameter)>::Scalar;
          const S rate = static_cast<S>(options.learning_rate), momentum = static_cast<S>(options.momentum);
          const S keep = static_cast<S>(1 - options.learning_rate * options.weight_decay);
          frozen.for_each_trained_run(name, parameter, [&](Index begin, Index count) {
            updates.add([=, nesterov = options.nesterov, p = detail::run_of(parameter, begin, count),
                         v = detail::run_of(velocity, begin, count),
                         g = detail::run_of(slope, begin, count)]() mutable {
              v = momentum * v + g;
              if (nesterov)
                p = keep * p - rate * (g + momentum * v);
              else
                p = keep * p - rate * v;
            });
          });
        },
        model, gradient, velocity_);
    updates.run();
    return true;
  }

  /// The velocity, as a value of the model's type: see AdamW::moments.
  std::tuple<Model&> moments() { return {velocity_}; }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    detail::visit_part("velocity", f, self.velocity_...);
  }

 private:
  void check() const {
    require(
        detail::has_finite_bits(options.learning_rate) && options.learning_rate >= 0 && options.learning_rate <= 1e30,
        "Sgd: learning_rate is ", options.learning_rate, ", it must be in [0, 1e30]");
    require(options.momentum >= 0 && options.momentum < 1, "Sgd: momentum is ", options.momentum,
            ", it must be in [0, 1)");
    require(options.weight_decay >= 0 && detail::has_finite_bits(options.weight_decay), "Sgd: weight_decay is ",
            options.weight_decay, ", it must be finite and 0 or more");
  }

  Model velocity_;
};

MOE_NAMESPACE_END
