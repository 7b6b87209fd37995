// Gated linear units as experts: SwiGLU, GEGLU, ReGLU, and other forms of gate.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "moe/core/buffer.hpp"
#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/core/weights.hpp"
#include "moe/expert/activations.hpp"
#include "moe/expert/dropout.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/stages.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/panels_forward.hpp"
#include "moe/kernel/panels_input_gradient.hpp"
#include "moe/kernel/panels_weight_gradient.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// What makes a hidden unit of gate and up projection together, where that is not act(gate) * up.
template <class Form, class S>
concept GateForm = requires(const Form form, const Chunk<S> chunk) {
  form.template value<S>(chunk, chunk);
  form.template gate_derivative<S>(chunk, chunk);
  form.template up_derivative<S>(chunk, chunk);
};

}  // namespace detail

/// y = (act(x w1' + b1) .* (x w3' + b3)) w2' + b2 (Shazeer 2020, "GLU Variants Improve Transformer"). In the names of
/// Mixtral: w1 the gate projection, w3 the up projection, w2 the down projection.
/// `Activation` is one of moe/expert/activations.hpp, or a gate form, which sees both projections and may have settings
/// (ClampedSilu).
template <class S, class Activation, class W = Weights<S>>
struct Glu {
  static_assert(detail::ComputesIn<S>::is_known);
  W w1_FD, w3_FD, w2_DF;
  Vector<S> b1_F = {}, b3_F = {}, b2_D = {};  ///< Empty: none.
  Vector<S> multiplier_F = {};                ///< Of the hidden units (ST-MoE's multiplicative bias). Empty: none.
  Dropout dropout = {};                       ///< Of the hidden units.
  [[no_unique_address]] Activation activation = {};

  struct Tape {
    Buffer<Matrix<S>> gate_NF, up_NF, hidden_NF, dgate_NF, dup_NF;  // gate before its activation
    std::optional<std::uint64_t> random = {};                       ///< Seed of the dropout; none: nothing is dropped.
    bool keep_activations = true;                                   ///< false: for a pass without a backward pass.
  };

  template <class Generator>
  static Glu random(Index width, Index hidden, Generator& generator, ExpertOptions options = {},
                    Activation activation = {}) {
    require(width > 0 && hidden > 0, "Glu: width ", width, " and hidden width ", hidden, ", both must be 1 or more");
    options.check();
    Glu expert;
    expert.activation = activation;
    expert.w1_FD = W(random_matrix<S>(hidden, width, generator, options.stddev(width)));
    expert.w3_FD = W(random_matrix<S>(hidden, width, generator, options.stddev(width)));
    expert.w2_DF = W(random_matrix<S>(width, hidden, generator, options.stddev(hidden)));
    if (options.bias) {
      expert.b1_F.setZero(hidden);
      expert.b3_F.setZero(hidden);
      expert.b2_D.setZero(width);
    }
    expert.dropout.rate = options.dropout;
    if (options.multiplier) expert.multiplier_F.setOnes(hidden);
    return expert;
  }

  Index output_width() const { return w2_DF.rows(); }

  void check(Index width) const {
    require(w1_FD.cols() == width && w3_FD.cols() == width, "Glu: w1 has ", w1_FD.cols(), " and w3 ", w3_FD.cols(),
            " columns, the tokens have width ", width);
    const Index hidden = w1_FD.rows();
    require(w3_FD.rows() == hidden && w2_DF.cols() == hidden, "Glu: the hidden widths of w1, w3 and w2, ", hidden, ", ",
            w3_FD.rows(), " and ", w2_DF.cols(), ", differ");
    require((b1_F.size() == 0 || b1_F.size() == hidden) && (b3_F.size() == 0 || b3_F.size() == hidden),
            "Glu: b1 and b3 have ", b1_F.size(), " and ", b3_F.size(), " entries for ", hidden, " hidden units");
    require(b2_D.size() == 0 || b2_D.size() == w2_DF.rows(), "Glu: b2 has ", b2_D.size(), " entries for ", w2_DF.rows(),
            " outputs");
    require(multiplier_F.size() == 0 || multiplier_F.size() == hidden, "Glu: the multiplier has ", multiplier_F.size(),
            " entries for ", hidden, " hidden units");
    dropout.check();
    if constexpr (requires { activation.check(); }) activation.check();
  }

  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> y_ND, Tape& tape) const {
    detail::forward_by_stages<Glu, S>(*this, x_ND, y_ND, tape);
  }

  void backward(ConstMatrixRef<S> x_ND, ConstMatrixRef<S> dy_ND, Tape& tape, MatrixRef<S> dx_ND, Glu& gradient) const {
    detail::backward_by_stages<Glu, S>(*this, x_ND, dy_ND, tape, dx_ND, gradient);
  }

  // Stage 0 works on hidden units, stage 1 on outputs; backward, on hidden units again, then on inputs and outputs.
  using StagesOf = Glu;
  static constexpr int stages = 2, saving_stages = 1;
  Index forward_columns(int stage) const { return stage == 0 ? w1_FD.rows() : w2_DF.rows(); }
  Index backward_columns(int stage) const { return stage == 0 ? w1_FD.rows() : (std::max)(w1_FD.cols(), w2_DF.rows()); }

  void begin_forward(Index rows, Tape& tape) const {
    tape.gate_NF.resize(tape.keep_activations ? rows : 0, w1_FD.rows());
    tape.up_NF.resize(needs_up(tape) ? rows : 0, w1_FD.rows());
    tape.hidden_NF.resize(rows, w1_FD.rows());
  }
  void begin_backward(Index rows, Tape& tape) const {
    require_shape("Glu: the activations of the tape", tape.gate_NF, rows, w1_FD.rows());
    tape.dgate_NF.resize(rows, w1_FD.rows());
    tape.dup_NF.resize(rows, w1_FD.rows());
  }

  Index rows_of_block() const {
    return detail::rows_of_block<S>(2 * w1_FD.size() + w2_DF.size(), (std::max)(w1_FD.rows(), w1_FD.cols()));
  }

  /// Rows from `row` on and columns of one stage, for the layer, which has checked the shapes.
  void forward_stage(int stage, detail::View<const S> x_ND, detail::View<S> y_ND, Tape& tape, Index row, Index first,
                     Index count) const {
    static_assert(has_form || detail::HasValue<Activation, S>,
                  "moe::Glu: the activation needs value<S>(chunk), static; see moe/expert/activations.hpp");
    if (count == 0) return;
    const auto own = [&](detail::View<S> all) { return all.block(row, 0, x_ND.rows(), all.cols()); };
    const detail::View<S> hidden_NF = own(tape.hidden_NF);
    if (stage == 1) return detail::panels_forward<S>(hidden_NF, w2_DF, b2_D, y_ND, first, count);
    const detail::View<S> gate_NF = own(tape.keep_activations ? tape.gate_NF : tape.hidden_NF);  // places for the sums
    const detail::View<S> up_NF = own(needs_up(tape) ? tape.up_NF : tape.hidden_NF);
    const auto take = [&](const detail::SumsPlace& at, const S* const* sums) {
      for (Index i = 0, n = at.row; i < at.rows; ++i, ++n) {
        const Units gate = detail::add_sums<S>(at, sums[0] + i * panel_width, b1_F, &gate_NF(n, at.column));
        const Units up = detail::add_sums<S>(at, sums[1] + i * panel_width, b3_F, &up_NF(n, at.column));
        if (!at.last_part) continue;
        Units units = value(gate, up);
        if (multiplier_F.size() > 0) units *= detail::load_chunk(&multiplier_F(at.column), at.width, S(0));
        detail::store_chunk<S>(units, &hidden_NF(n, at.column), at.width);
      }
    };
    detail::panels_sums<S, W>(x_ND, {&w1_FD, &w3_FD}, first, count, {gate_NF, up_NF, hidden_NF}, take);
    dropout.drop(tape.random, hidden_NF, first, count, row);
  }

  void backward_stage(int stage, detail::View<const S> x_ND, detail::View<const S> dy_ND, Tape& tape,
                      detail::View<S> dx_ND, Glu& gradient, Index first, Index count) const {
    static_assert(detail::WritableStorage<W>,
                  "moe::Glu::backward: weights of this storage can only be read: the expert infers and is not trained; "
                  "train it on Weights, which moe::dequantized() gives, and convert it by moe::quantized() afterwards");
    static_assert(
        has_form || detail::HasDerivative<Activation, S>,
        "moe::Glu::backward: the activation needs derivative<S>(chunk), static; see moe/expert/activations.hpp");
    if (count == 0) return;
    const detail::View<S> dgate_NF = tape.dgate_NF, dup_NF = tape.dup_NF;
    if (stage == 1) {
      detail::panels_weight_gradient<S>(dy_ND, tape.hidden_NF, gradient.w2_DF, gradient.b2_D, first, count);
      detail::panels_input_gradient<S>(dgate_NF, w1_FD, dx_ND, first, count, false);
      return detail::panels_input_gradient<S>(dup_NF, w3_FD, dx_ND, first, count, true);
    }
    detail::panels_input_gradient<S>(dy_ND, w2_DF, dgate_NF, first, count, false);  // d hidden, for both factors
    dropout.drop(tape.random, dgate_NF, first, count);
    if (multiplier_F.size() > 0) multiplier_backward(tape, gradient, first, count);
    for (Index n = 0; n < x_ND.rows(); ++n)
      split_gradient(count, &tape.gate_NF(n, first), &tape.up_NF(n, first), &dgate_NF(n, first), &dup_NF(n, first));
    detail::panels_weight_gradient<S>(dgate_NF, x_ND, gradient.w1_FD, gradient.b1_F, first, count);
    detail::panels_weight_gradient<S>(dup_NF, x_ND, gradient.w3_FD, gradient.b3_F, first, count);
  }

  /// The expert with its weights in another storage.
  template <class To>
  Glu<S, Activation, To> stored_as() const {
    return {detail::weight_in<To>(w1_FD),
            detail::weight_in<To>(w3_FD),
            detail::weight_in<To>(w2_DF),
            b1_F,
            b3_F,
            b2_D,
            multiplier_F,
            dropout,
            activation};
  }

  /// The weights of the storage, which are parameters if they can be trained and buffers if not.
  template <class F, class... Self>
  static void visit_weights(F&& f, Self&... self) {
    f("w1", self.w1_FD...);
    f("w3", self.w3_FD...);
    f("w2", self.w2_DF...);
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    if constexpr (detail::WritableStorage<W>) visit_weights(f, self...);
    if ((... || (self.b1_F.size() > 0))) f("b1", self.b1_F...);
    if ((... || (self.b3_F.size() > 0))) f("b3", self.b3_F...);
    if ((... || (self.b2_D.size() > 0))) f("b2", self.b2_D...);
    if ((... || (self.multiplier_F.size() > 0))) f("multiplier", self.multiplier_F...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    if constexpr (!detail::WritableStorage<W>)
      visit_weights([&](std::string_view name, auto&... w) { visit_part_buffers(name, f, w...); }, self...);
  }

 private:
  using Units = Chunk<S>;  // sixteen hidden units
  static constexpr bool has_form = detail::GateForm<Activation, S>;

  /// Sums in several parts are added up in memory, those of gate and up side by side.
  bool needs_up(const Tape& tape) const { return tape.keep_activations || w1_FD.cols() > detail::longest_sum; }

  EIGEN_ALWAYS_INLINE Units value(const Units& gate, const Units& up) const {
    if constexpr (has_form)
      return activation.template value<S>(gate, up);
    else
      return Activation::template value<S>(gate) * up;
  }

  /// dgate_NF holds the gradient of the hidden units; the multiplier's is added, and it is multiplied.
  void multiplier_backward(Tape& tape, Glu& gradient, Index first, Index count) const {
    const auto add = [&](Index n, Index begin, Index width, S* sums) {
      const auto add_product = [&](const Units& sum, const Units& dh, const Units& gate, const Units& up) -> Units {
        return sum + dh * value(gate, up);
      };
      const Index at = first + begin;
      detail::map_chunks(width, sums, add_product, sums, &tape.dgate_NF(n, at), &tape.gate_NF(n, at),
                         &tape.up_NF(n, at));
      return true;
    };
    detail::add_terms<S>(tape.dgate_NF.rows(), count, &gradient.multiplier_F(first), add);
    const auto times = [](const Units& a, const Units& b) -> Units { return a * b; };
    for (Index n = 0; n < tape.dgate_NF.rows(); ++n)
      detail::map_chunks(count, &tape.dgate_NF(n, first), times, &tape.dgate_NF(n, first), &multiplier_F(first));
  }

  /// The gradients of the two factors of a row; `dgate` holds that of the hidden units at first.
  void split_gradient(Index count, const S* gate_row, const S* up_row, S* dgate, S* dup) const {
    detail::for_each_chunk(count, [&](Index begin, Index width) {
      const auto units_of = [&](const S* row) -> Units { return detail::load_chunk(row + begin, width, S(0)); };
      const Units dh = units_of(dgate), gate = units_of(gate_row), up = units_of(up_row);
      if constexpr (has_form) {
        detail::store_chunk<S>(dh * activation.template up_derivative<S>(gate, up), dup + begin, width);
        detail::store_chunk<S>(dh * activation.template gate_derivative<S>(gate, up), dgate + begin, width);
      } else {
        detail::store_chunk<S>(dh * Activation::template value<S>(gate), dup + begin, width);
        detail::store_chunk<S>(dh * up * Activation::template derivative<S>(gate), dgate + begin, width);
      }
    });
  }
};

template <class S>
using SwiGlu = Glu<S, Silu>;
template <class S>
using GeGlu = Glu<S, Gelu>;
template <class S>
using ReGlu = Glu<S, Relu>;
template <class S>
using BilinearGlu = Glu<S, Identity>;

MOE_NAMESPACE_END
