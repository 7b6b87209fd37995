// The feed-forward network of a transformer as an expert.
#pragma once

#include <algorithm>
#include <cmath>
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
#include "moe/expert/stages.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/panels_forward.hpp"
#include "moe/kernel/panels_input_gradient.hpp"
#include "moe/kernel/panels_weight_gradient.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

/// How the weights of an expert start: normal, zero biases.
struct ExpertOptions {
  bool bias = false;
  double scale = 1;         ///< The standard deviation is sqrt(scale / inputs); Switch (section 2.4) recommends 0.1.
  bool multiplier = false;  ///< Glu only: ST-MoE's multiplicative bias, which starts as ones.
  double dropout = 0;       ///< Of the hidden units, in training; Switch (section 2.4) fine-tunes experts with 0.4.

  double stddev(Index inputs) const { return std::sqrt(scale / static_cast<double>(inputs)); }

  void check() const {
    require(detail::has_finite_bits(scale) && scale >= 0, "ExpertOptions: scale is ", scale,
            ", it must be finite and 0 or more");
    Dropout{dropout}.check();
  }
};

/// y = act(x w1' + b1) w2' + b2, with act one of moe/expert/activations.hpp.
template <class S, class Activation = Relu, class W = Weights<S>>
struct Mlp {
  static_assert(detail::ComputesIn<S>::is_known);
  W w1_FD, w2_DF;
  Vector<S> b1_F = {}, b2_D = {};  ///< Empty: none.
  Dropout dropout = {};            ///< Of the hidden units.

  struct Tape {
    Buffer<Matrix<S>> pre_NF, hidden_NF, dpre_NF;  // pre_NF: empty if hidden_NF tells its slope
    std::optional<std::uint64_t> random = {};      ///< Seed of the dropout; none: nothing is dropped.
    bool keep_activations = true;                  ///< false: for a pass without a backward pass.
  };

  template <class Generator>
  static Mlp random(Index width, Index hidden, Generator& generator, ExpertOptions options = {}) {
    require(width > 0 && hidden > 0, "Mlp: width ", width, " and hidden width ", hidden, ", both must be 1 or more");
    options.check();
    Mlp expert;
    expert.w1_FD = W(random_matrix<S>(hidden, width, generator, options.stddev(width)));
    expert.w2_DF = W(random_matrix<S>(width, hidden, generator, options.stddev(hidden)));
    if (options.bias) {
      expert.b1_F.setZero(hidden);
      expert.b2_D.setZero(width);
    }
    expert.dropout.rate = options.dropout;
    return expert;
  }

  Index output_width() const { return w2_DF.rows(); }

  void check(Index width) const {
    require(w1_FD.cols() == width, "Mlp: w1 is ", w1_FD.rows(), " x ", w1_FD.cols(), ", the tokens have width ", width);
    require(w2_DF.cols() == w1_FD.rows(), "Mlp: w2 is ", w2_DF.rows(), " x ", w2_DF.cols(), " and w1 ", w1_FD.rows(),
            " x ", w1_FD.cols(), ", the hidden widths differ");
    require(b1_F.size() == 0 || b1_F.size() == w1_FD.rows(), "Mlp: b1 has ", b1_F.size(), " entries for ", w1_FD.rows(),
            " hidden units");
    require(b2_D.size() == 0 || b2_D.size() == w2_DF.rows(), "Mlp: b2 has ", b2_D.size(), " entries for ", w2_DF.rows(),
            " outputs");
    dropout.check();
  }

  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> y_ND, Tape& tape) const {
    detail::forward_by_stages<Mlp, S>(*this, x_ND, y_ND, tape);
  }

  void backward(ConstMatrixRef<S> x_ND, ConstMatrixRef<S> dy_ND, Tape& tape, MatrixRef<S> dx_ND, Mlp& gradient) const {
    detail::backward_by_stages<Mlp, S>(*this, x_ND, dy_ND, tape, dx_ND, gradient);
  }

  // Stage 0 works on hidden units, stage 1 on outputs; backward, on hidden units again, then on inputs and outputs.
  using StagesOf = Mlp;
  static constexpr int stages = 2, saving_stages = 1;
  Index forward_columns(int stage) const { return stage == 0 ? w1_FD.rows() : w2_DF.rows(); }
  Index backward_columns(int stage) const { return stage == 0 ? w1_FD.rows() : (std::max)(w1_FD.cols(), w2_DF.rows()); }

  void begin_forward(Index rows, Tape& tape) const {
    tape.pre_NF.resize(tape.keep_activations && !slope_of_value ? rows : 0, w1_FD.rows());
    tape.hidden_NF.resize(rows, w1_FD.rows());
  }
  void begin_backward(Index rows, Tape& tape) const {
    require_shape("Mlp: the activations of the tape", before_slope(tape), rows, w1_FD.rows());
    tape.dpre_NF.resize(rows, w1_FD.rows());
  }

  Index rows_of_block() const {
    return detail::rows_of_block<S>(w1_FD.size() + w2_DF.size(), (std::max)(w1_FD.rows(), w1_FD.cols()));
  }

  /// Rows from `row` on and columns of one stage, for the layer, which has checked the shapes.
  void forward_stage(int stage, detail::View<const S> x_ND, detail::View<S> y_ND, Tape& tape, Index row, Index first,
                     Index count) const {
    static_assert(detail::HasValue<Activation, S>,
                  "moe::Mlp: the activation needs value<S>(chunk), static; see moe/expert/activations.hpp");
    if (count == 0) return;
    const auto own = [&](detail::View<S> all) { return all.block(row, 0, x_ND.rows(), all.cols()); };
    const detail::View<S> hidden_NF = own(tape.hidden_NF);
    if (stage == 1) return detail::panels_forward<S>(hidden_NF, w2_DF, b2_D, y_ND, first, count);
    const detail::View<S> pre_NF = own(tape.keep_activations ? before_slope(tape) : tape.hidden_NF);  // for the sums
    const auto take = [&](const detail::SumsPlace& at, const S* const* sums) {
      for (Index i = 0, n = at.row; i < at.rows; ++i, ++n) {
        const Chunk<S> pre = detail::add_sums<S>(at, sums[0] + i * panel_width, b1_F, &pre_NF(n, at.column));
        if (!at.last_part) continue;
        detail::store_chunk<S>(Activation::template value<S>(pre), &hidden_NF(n, at.column), at.width);
      }
    };
    detail::panels_sums<S, W>(x_ND, {&w1_FD}, first, count, {pre_NF, hidden_NF}, take);
    dropout.drop(tape.random, hidden_NF, first, count, row);
  }

  void backward_stage(int stage, detail::View<const S> x_ND, detail::View<const S> dy_ND, Tape& tape,
                      detail::View<S> dx_ND, Mlp& gradient, Index first, Index count) const {
    static_assert(detail::WritableStorage<W>,
                  "moe::Mlp::backward: weights of this storage can only be read: the expert infers and is not trained; "
                  "train it on Weights, which moe::dequantized() gives, and convert it by moe::quantized() afterwards");
    static_assert(
        detail::HasDerivative<Activation, S>,
        "moe::Mlp::backward: the activation needs derivative<S>(chunk), static; see moe/expert/activations.hpp");
    if (count == 0) return;
    const detail::View<S> dpre_NF = tape.dpre_NF;
    if (stage == 1) {
      detail::panels_weight_gradient<S>(dy_ND, tape.hidden_NF, gradient.w2_DF, gradient.b2_D, first, count);
      return detail::panels_input_gradient<S>(dpre_NF, w1_FD, dx_ND, first, count, false);
    }
    detail::panels_input_gradient<S>(dy_ND, w2_DF, dpre_NF, first, count, false);  // d hidden, then times act'
    dropout.drop(tape.random, dpre_NF, first, count);
    for (Index n = 0; n < x_ND.rows(); ++n)
      detail::map_chunks(
          count, &dpre_NF(n, first),
          [](const Chunk<S>& dh, const Chunk<S>& u) -> Chunk<S> { return dh * Activation::template derivative<S>(u); },
          &dpre_NF(n, first), &before_slope(tape)(n, first));
    detail::panels_weight_gradient<S>(dpre_NF, x_ND, gradient.w1_FD, gradient.b1_F, first, count);
  }

  /// The expert with its weights in another storage.
  template <class To>
  Mlp<S, Activation, To> stored_as() const {
    return {detail::weight_in<To>(w1_FD), detail::weight_in<To>(w2_DF), b1_F, b2_D, dropout};
  }

  /// The weights of the storage, which are parameters if they can be trained and buffers if not.
  template <class F, class... Self>
  static void visit_weights(F&& f, Self&... self) {
    f("w1", self.w1_FD...);
    f("w2", self.w2_DF...);
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    if constexpr (detail::WritableStorage<W>) visit_weights(f, self...);
    if ((... || (self.b1_F.size() > 0))) f("b1", self.b1_F...);
    if ((... || (self.b2_D.size() > 0))) f("b2", self.b2_D...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    if constexpr (!detail::WritableStorage<W>)
      visit_weights([&](std::string_view name, auto&... w) { visit_part_buffers(name, f, w...); }, self...);
  }

 private:
  static constexpr bool slope_of_value = requires { requires Activation::slope_of_value; };

  /// Where the activation's derivative is taken: of units that were dropped it is multiplied by 0 anyway.
  static Buffer<Matrix<S>>& before_slope(Tape& tape) { return slope_of_value ? tape.hidden_NF : tape.pre_NF; }
};

MOE_NAMESPACE_END
