// Finds the coefficient of ReluBalanceLoss by which a token has k experts in the mean.
#pragma once

#include <algorithm>

#include "moe/core/core.hpp"
#include "moe/core/visit_parts.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

struct SparsityControlOptions {
  double coefficient = 1e-8;  ///< To begin with.
  double factor = 1.2;        ///< More than 1.
};

/// After a step the coefficient is multiplied by the factor if too many experts were chosen, and divided by it
/// otherwise: sparsity = 1 - choices / (n E) against 1 - k / E, in the mean over layers and micro-batches (ReMoE, Wang
/// et al. 2024). The coefficient is saved and loaded as a model's parameters are.
///
///     auto& loss = std::get<moe::ReluBalanceLoss>(layer.losses.all);
///     moe::SparsityControl control;
///     control.add(tape.routing, loss.k);    // after each forward pass that trains
///     loss.coefficient = control.update();  // once a step; after loading, control.coefficient()
class SparsityControl {
 public:
  explicit SparsityControl(SparsityControlOptions options = {})
      : factor_(options.factor), coefficient_(options.coefficient) {
    require(detail::has_finite_bits(factor_) && factor_ > 1, "SparsityControl: factor is ", factor_,
            ", it must be finite and more than 1");
    require(coefficient_ >= least && coefficient_ <= most, "SparsityControl: coefficient is ", coefficient_,
            ", it must be in [1e-30, 1e30]");
  }

  double coefficient() const { return coefficient_; }

  /// Takes in a routing whose tokens shall have k experts. Padding does not count, nor a batch without tokens.
  template <class S>
  void add(const Routing<S>& routing, Index k) {
    routing.check();
    require(k >= 1 && k <= routing.experts(), "SparsityControl: k is ", k, ", there are ", routing.experts(),
            " experts");
    if (routing.valid_tokens == 0) return;
    const auto experts = static_cast<double>(routing.experts());
    const double each = static_cast<double>(routing.choices.size()) / static_cast<double>(routing.valid_tokens);
    excess_ += (each - static_cast<double>(k)) / experts;
    has_any_ = true;
  }

  /// The coefficient for the next step; the same one if nothing was added. It stays within 1e-30 and 1e30.
  double update() {
    if (!has_any_) return coefficient_;
    coefficient_ = std::clamp(excess_ > 0 ? coefficient_ * factor_ : coefficient_ / factor_, least, most);
    excess_ = 0;
    has_any_ = false;
    return coefficient_;
  }

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_numbers("coefficient", f, self.coefficient_...);
  }

 private:
  static constexpr double least = 1e-30, most = 1e30;

  double factor_, coefficient_;
  double excess_ = 0;  ///< Sum of target sparsity - sparsity.
  bool has_any_ = false;
};

MOE_NAMESPACE_END
