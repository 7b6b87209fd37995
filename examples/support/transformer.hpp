// A stack of transformer blocks whose feed-forward parts are mixtures of experts.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "attention.hpp"
#include "moe/routing/batch.hpp"
#include "norm.hpp"

namespace example {

/// Sequences of tokens, one after the other, as a transformer gets them.
struct Sequences {
  Index length;                            ///< Of each.
  std::span<const std::int64_t> ids = {};  ///< Of the tokens, for gates that look at them.
  Index group_size = 0;                    ///< Of tokens within which capacity is counted; 0: all.
};

/// Block i: h = x + attention(norm(x)), y = h + F(norm(h)); F is a moe::Layer or moe::Shared. Attention and F of block
/// i are number i modulo how many there are: one of each is shared by all blocks (WideNet), which have their own norms.
template <class F>
struct Transformer {
  using S = typename F::Scalar;
  using Matrix = moe::Matrix<S>;

  std::vector<Norm<S>> norms;  ///< Two for each block, and one at the end.
  std::vector<SelfAttention<S>> attentions;
  std::vector<F> ffns;

  struct Tape {
    struct Block {
      Matrix x_TD, attention_x_TD, h_TD, ffn_x_TD;
      typename SelfAttention<S>::Tape attention;
      typename Norm<S>::Tape attention_norm, ffn_norm;
      typename F::Tape ffn;
    };
    std::vector<Block> blocks;
    typename Norm<S>::Tape norm;
    Matrix y_TD, dy_TD, dh_TD, dpart_TD;
  };

  Index blocks() const { return static_cast<Index>(norms.size()) / 2; }
  std::size_t attention_of(std::size_t block) const { return block % attentions.size(); }
  std::size_t ffn_of(std::size_t block) const { return block % ffns.size(); }

  /// A tape for evaluation.
  Tape tape() const {
    Tape made;
    made.blocks.resize(norms.size() / 2);
    return made;
  }
  /// Makes it one for training: each block's layer gets a generator of its own.
  static void seed(Tape& tape, moe::Random& random) {
    for (auto& block : tape.blocks) block.ffn.random.emplace(random.seed());
  }

  void forward(const Matrix& x_TD, const Sequences& sequences, Matrix& y_TD, Tape& tape) const {
    moe::require(static_cast<Index>(tape.blocks.size()) == blocks(), "Transformer: a tape of ", tape.blocks.size(),
                 " blocks for one of ", blocks());
    tape.y_TD = x_TD;
    for (std::size_t b = 0; b < tape.blocks.size(); ++b) {
      auto& block = tape.blocks[b];
      norms[2 * b].forward(tape.y_TD, block.attention_x_TD, block.attention_norm);
      attentions[attention_of(b)].forward(block.attention_x_TD, sequences.length, block.h_TD, block.attention);
      tape.y_TD += block.h_TD;
      norms[2 * b + 1].forward(tape.y_TD, block.ffn_x_TD, block.ffn_norm);
      block.h_TD.resize(x_TD.rows(), x_TD.cols());
      ffns[ffn_of(b)].forward_into(batch(block.ffn_x_TD, sequences), block.h_TD, block.ffn);
      tape.y_TD += block.h_TD;
    }
    norms.back().forward(tape.y_TD, y_TD, tape.norm);
  }

  /// dx_TD; gradient +=, with that of the layers' auxiliary losses.
  void backward(const Sequences& sequences, const Matrix& dy_TD, Tape& tape, Matrix& dx_TD,
                Transformer& gradient) const {
    dx_TD.setZero(dy_TD.rows(), dy_TD.cols());
    norms.back().backward_add(dy_TD, tape.norm, dx_TD, gradient.norms.back());
    for (std::size_t b = tape.blocks.size(); b-- > 0;) {
      auto& block = tape.blocks[b];
      tape.dpart_TD.resize(dx_TD.rows(), dx_TD.cols());
      ffns[ffn_of(b)].backward_into(batch(block.ffn_x_TD, sequences), dx_TD, block.ffn, tape.dpart_TD,
                                    gradient.ffns[ffn_of(b)]);
      norms[2 * b + 1].backward_add(tape.dpart_TD, block.ffn_norm, dx_TD, gradient.norms[2 * b + 1]);
      attentions[attention_of(b)].backward(block.attention_x_TD, dx_TD, block.attention, tape.dpart_TD,
                                           gradient.attentions[attention_of(b)]);
      norms[2 * b].backward_add(tape.dpart_TD, block.attention_norm, dx_TD, gradient.norms[2 * b]);
    }
  }

  template <class V, class... Self>
  static void visit_parameters(V&& f, Self&... self) {
    moe::visit_list("norms", f, self.norms...);
    moe::visit_list("attentions", f, self.attentions...);
    moe::visit_list("ffns", f, self.ffns...);
  }
  template <class V, class... Self>
  static void visit_buffers(V&& f, Self&... self) {
    moe::visit_list_buffers("ffns", f, self.ffns...);
  }

 private:
  static moe::Batch<S> batch(const Matrix& x_TD, const Sequences& sequences) {
    moe::Batch<S> made(x_TD);
    made.ids = sequences.ids;
    made.group_size = sequences.group_size;
    return made;
  }
};

}  // namespace example
