// Multi-head self-attention within sequences, with rotary positions or without.
#pragma once

#include <cmath>

#include "moe/core/executor.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/linear.hpp"
#include "rotary.hpp"

namespace example {

using moe::Index;

/// Vaswani et al. 2017, without biases. The rows are sequences of `length` tokens, one after the other. `rotary`
/// turns queries and keys by their position (support/rotary.hpp).
template <class S>
struct SelfAttention {
  Index heads = 1;
  bool causal = true, rotary = true;
  moe::Linear<S> to_qkv, to_output;  ///< (3 D, D): queries, keys and values, each by heads; (D, D).

  struct Tape {
    Index length = 0;
    moe::Matrix<S> qkv_T3D, mixed_TD, dqkv_T3D, dmixed_TD;
    moe::Matrix<S> probabilities;  // of sequence after sequence, head after head: (length, length) each
    Rotary<S> positions;
    typename moe::Linear<S>::Tape linear;
  };

  static SelfAttention random(Index width, Index heads, bool causal, bool rotary, moe::Random& random) {
    moe::require(heads > 0 && width % (2 * heads) == 0, "SelfAttention: width ", width, " does not divide into ", heads,
                 " heads of an even width");
    SelfAttention attention{heads, causal, rotary, moe::Linear<S>::random(width, 3 * width, random),
                            moe::Linear<S>::random(width, width, random)};
    attention.to_qkv.bias_O.resize(0);
    attention.to_output.bias_O.resize(0);
    return attention;
  }

  template <class Exec = moe::DefaultExecutor>
  void forward(const moe::Matrix<S>& x_TD, Index length, moe::Matrix<S>& y_TD, Tape& tape,
               const Exec& executor = {}) const {
    const Index tokens = x_TD.rows(), width = x_TD.cols();
    moe::require(length > 0 && tokens % length == 0, "SelfAttention: ", tokens,
                 " tokens do not divide into sequences of ", length);
    tape.length = length;
    tape.qkv_T3D.resize(tokens, 3 * width);
    tape.mixed_TD.resize(tokens, width);
    tape.probabilities.resize(tokens * heads, length);
    y_TD.resize(tokens, width);
    to_qkv.forward(x_TD, tape.qkv_T3D, tape.linear, executor);
    if (rotary && tape.positions.cosine_LH.rows() != length) tape.positions = Rotary<S>(length, width / heads);
    const S scale = S(1) / std::sqrt(static_cast<S>(width / heads));
    executor.parallel_for(tokens / length * heads, [&](Index task) {
      auto q = part(tape.qkv_T3D, length, task, 0), k = part(tape.qkv_T3D, length, task, 1),
           v = part(tape.qkv_T3D, length, task, 2);
      if (rotary) {
        tape.positions.turn(q);
        tape.positions.turn(k);
      }
      auto p = tape.probabilities.middleRows(task * length, length);
      p.noalias() = scale * q * k.transpose();
      for (Index i = 0; i < length; ++i) {
        const Index seen = causal ? i + 1 : length;
        auto row = p.row(i).head(seen).array();
        row = (row - row.maxCoeff()).exp();
        row /= row.sum();
        p.row(i).tail(length - seen).setZero();
      }
      part(tape.mixed_TD, length, task, 0).noalias() = p * v;
    });
    to_output.forward(tape.mixed_TD, y_TD, tape.linear, executor);
  }

  template <class Exec = moe::DefaultExecutor>
  void backward(const moe::Matrix<S>& x_TD, const moe::Matrix<S>& dy_TD, Tape& tape, moe::Matrix<S>& dx_TD,
                SelfAttention& gradient, const Exec& executor = {}) const {
    const Index tokens = x_TD.rows(), width = x_TD.cols(), length = tape.length;
    tape.dmixed_TD.resize(tokens, width);
    tape.dqkv_T3D.resize(tokens, 3 * width);
    dx_TD.resize(tokens, width);
    to_output.backward(tape.mixed_TD, dy_TD, tape.linear, tape.dmixed_TD, gradient.to_output, executor);
    const S scale = S(1) / std::sqrt(static_cast<S>(width / heads));
    executor.parallel_for(tokens / length * heads, [&](Index task) {
      const auto q = part(tape.qkv_T3D, length, task, 0), k = part(tape.qkv_T3D, length, task, 1),
                 v = part(tape.qkv_T3D, length, task, 2), dmixed = part(tape.dmixed_TD, length, task, 0);
      const auto p = tape.probabilities.middleRows(task * length, length);
      part(tape.dqkv_T3D, length, task, 2).noalias() = p.transpose() * dmixed;
      moe::Matrix<S> dscores = dmixed * v.transpose();
      for (Index i = 0; i < length; ++i) {
        const S along = dscores.row(i).dot(p.row(i));
        dscores.row(i).array() = scale * p.row(i).array() * (dscores.row(i).array() - along);
      }
      auto dq = part(tape.dqkv_T3D, length, task, 0), dk = part(tape.dqkv_T3D, length, task, 1);
      dq.noalias() = dscores * k;
      dk.noalias() = dscores.transpose() * q;
      if (rotary) {
        tape.positions.turn(dq, S(-1));
        tape.positions.turn(dk, S(-1));
      }
    });
    to_qkv.backward(x_TD, tape.dqkv_T3D, tape.linear, dx_TD, gradient.to_qkv, executor);
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    moe::visit_part("qkv", f, self.to_qkv...);
    moe::visit_part("output", f, self.to_output...);
  }

 private:
  /// Of task = sequence * heads + head: its rows of queries (0), keys (1) or values (2).
  template <class Rows>
  auto part(Rows& rows, Index length, Index task, Index which) const {
    const Index width = to_output.weight_OD.rows(), head_width = width / heads;
    return rows.block(task / heads * length, which * width + task % heads * head_width, length, head_width);
  }
};

}  // namespace example
