// The cosine router: logits are similarities of directions, whatever the tokens' lengths.
#pragma once

#include <algorithm>
#include <cmath>

#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/kernel/linear_map.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// logits_te = scale * cos(projection_PD x_t, expert_EP row e), scale = exp(min(log_scale, log 100)) learned (Chi et
/// al. 2022, "On the Representation Collapse of Sparse MoE"; Tutel's cosine gate). A length below 1e-4 counts as 1e-4.
template <class S>
struct CosineRouter {
  static_assert(detail::ComputesIn<S>::is_known);
  using Scalar = S;

  Matrix<S> projection_PD, expert_EP;
  Vector<S> log_scale;  ///< One entry.

  struct Tape {
    Matrix<S> projected_TP, dprojected_TP, direction_EP, ddirection_EP;
    Vector<S> length_T;
  };

  /// P is the width of the space in which directions are compared (Tutel: 256); the scale starts at 1 / 0.07, as there.
  template <class Generator>
  static CosineRouter random(Index experts, Index width, Index projected, Generator& generator) {
    require(experts > 0 && width > 0 && projected > 0, "CosineRouter: ", experts, " experts, width ", width,
            ", projection to ", projected, ", all must be 1 or more");
    CosineRouter router{Matrix<S>(projected, width), Matrix<S>(experts, projected), Vector<S>(1)};
    detail::fill_normal(generator, 1 / std::sqrt(static_cast<double>(width)), router.projection_PD);
    detail::fill_normal(generator, 0.01, router.expert_EP);
    router.log_scale(0) = static_cast<S>(std::log(1 / 0.07));
    return router;
  }

  Index experts() const { return expert_EP.rows(); }
  Index width() const { return projection_PD.cols(); }

  void check() const {
    require(experts() > 0 && width() > 0 && projection_PD.rows() == expert_EP.cols(),
            "CosineRouter: the projection is ", projection_PD.rows(), " x ", width(), ", the experts ", experts(),
            " x ", expert_EP.cols());
    require(log_scale.size() == 1, "CosineRouter: log_scale has ", log_scale.size(), " entries, it needs 1");
  }

  void forward(const Batch<S>& batch, Routing<S>& routing, Tape& tape, Random*,
               detail::ExecutorRef executor = Serial{}) const {
    check();
    detail::check_router_pass(batch, routing, experts(), width());
    const Index tokens = batch.tokens(), projected = projection_PD.rows();
    if (tape.projected_TP.rows() != tokens || tape.projected_TP.cols() != projected ||
        tape.direction_EP.rows() != experts())
      tape = Tape();  // as LayerTape does
    tape.projected_TP.resize(tokens, projected);
    detail::linear_forward<S>(batch.x_TD, projection_PD, Vector<S>(), tape.projected_TP, executor);
    tape.length_T.resize(tokens);
    for (Index t = 0; t < tokens; ++t) {
      tape.length_T(t) = (std::max)(shortest(), tape.projected_TP.row(t).norm());
      tape.projected_TP.row(t) /= tape.length_T(t);
    }
    tape.direction_EP.resize(experts(), projected);
    for (Index e = 0; e < experts(); ++e)
      tape.direction_EP.row(e) = expert_EP.row(e) / (std::max)(shortest(), expert_EP.row(e).norm());
    detail::linear_forward<S>(tape.projected_TP, tape.direction_EP, Vector<S>(), routing.logits_TE, executor);
    routing.logits_TE *= scale();
  }

  /// With u = v / |v|: dv = (du - (u . du) u) / |v|; below the shortest length u is linear in v: dv = du / shortest.
  void backward(const Batch<S>& batch, const Routing<S>& routing, Routing<S>& drouting, Tape& tape, MatrixRef<S> dx_TD,
                CosineRouter& gradient, detail::ExecutorRef executor = Serial{}) const {
    const Index tokens = batch.tokens(), projected = projection_PD.rows();
    detail::check_router_pass<S>(batch, routing, drouting, dx_TD, experts(), width());
    detail::require_same_shapes("CosineRouter::backward: the gradient", *this, gradient);
    require_shape("CosineRouter::backward: the tape", tape.projected_TP, tokens, projected);
    require_shape("CosineRouter::backward: the tape's directions", tape.direction_EP, experts(), projected);
    Vector<S> no_bias;
    detail::Wide<S> dlog_scale = 0;
    for (Index t = 0; t < tokens && log_scale(0) < static_cast<S>(std::log(100.0)); ++t)
      if (routing.is_valid(t)) dlog_scale += drouting.logits_TE.row(t).dot(routing.logits_TE.row(t));
    gradient.log_scale(0) += static_cast<S>(dlog_scale);
    drouting.logits_TE *= scale();
    tape.ddirection_EP.setZero(experts(), projected);
    const auto weight_gradient = [&](const Matrix<S>& dy, detail::View<const S> rows, Matrix<S>& dw) {
      detail::linear_weight_gradient_of_marked<S>(dy, rows, routing.valid_T, routing.valid_tokens,
                                                  drouting.workspace.rows_TE, drouting.workspace.rows_TD, dw, no_bias,
                                                  executor);
    };
    weight_gradient(drouting.logits_TE, tape.projected_TP, tape.ddirection_EP);
    for (Index e = 0; e < experts(); ++e) {
      const S length = expert_EP.row(e).norm();
      if (length > shortest())
        gradient.expert_EP.row(e) +=
            (tape.ddirection_EP.row(e) -
             tape.direction_EP.row(e).dot(tape.ddirection_EP.row(e)) * tape.direction_EP.row(e)) /
            length;
      else
        gradient.expert_EP.row(e) += tape.ddirection_EP.row(e) / shortest();
    }
    tape.dprojected_TP.resize(tokens, projected);
    detail::linear_input_gradient<S>(drouting.logits_TE, tape.direction_EP, tape.dprojected_TP, false, executor);
    for (Index t = 0; t < tokens; ++t) {
      auto d = tape.dprojected_TP.row(t);
      const auto u = tape.projected_TP.row(t);
      const S along = tape.length_T(t) > shortest() ? u.dot(d) : S(0);
      d = ((d - along * u) / tape.length_T(t)).eval();
      if (!routing.is_valid(t)) d.setZero();
    }
    weight_gradient(tape.dprojected_TP, batch.x_TD, gradient.projection_PD);
    detail::linear_input_gradient<S>(tape.dprojected_TP, projection_PD, dx_TD, true, executor);
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("projection", self.projection_PD...);
    f("experts", self.expert_EP...);
    f("log_scale", self.log_scale...);
  }

 private:
  static S shortest() { return S(1e-4); }
  S scale() const { return std::exp((std::min)(log_scale(0), static_cast<S>(std::log(100.0)))); }
};

MOE_NAMESPACE_END
