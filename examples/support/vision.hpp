// A vision transformer: an image is cut into square patches, which are its tokens.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "cross_entropy.hpp"
#include "training.hpp"
#include "transformer.hpp"

namespace example {

struct VisionSize {
  Index side = 8, patch = 2, classes = 10;
  Index width = 32, heads = 4, blocks = 4;
  bool shared = false;  ///< One attention and one feed-forward part for all blocks.

  Index patches() const { return side / patch * (side / patch); }  ///< Of an image.
};

/// Square images, as their patches: those of image after image, row by row.
template <class S>
struct ImageBatch {
  moe::Matrix<S> patch_TP;
  std::vector<std::int64_t> label;  ///< Of each image.

  Index images() const { return static_cast<Index>(label.size()); }
  Index patches() const { return patch_TP.rows() / images(); }  ///< Of each image.
};

/// Images whose pixels are rows of side * side, cut into patches.
template <class S>
ImageBatch<S> cut_images(const moe::Matrix<S>& image_NP, const std::vector<Index>& label, const VisionSize& size) {
  const Index side = size.side, patch = size.patch;
  moe::require(patch > 0 && side % patch == 0 && image_NP.cols() == side * side, "cut_images: images of ",
               image_NP.cols(), " pixels, of side ", side, ", do not divide into patches of side ", patch);
  const Index across = side / patch;
  ImageBatch<S> batch{moe::Matrix<S>(image_NP.rows() * across * across, patch * patch), {label.begin(), label.end()}};
  for (Index n = 0; n < image_NP.rows(); ++n)
    for (Index y = 0; y < side; ++y)
      for (Index x = 0; x < side; ++x)
        batch.patch_TP((n * across + y / patch) * across + x / patch, y % patch * patch + x % patch) =
            image_NP(n, y * side + x);
  return batch;
}

/// The images of these numbers.
template <class S>
ImageBatch<S> images_of(const ImageBatch<S>& all, const std::vector<Index>& numbers) {
  const Index patches = all.patches();
  ImageBatch<S> some{moe::Matrix<S>(static_cast<Index>(numbers.size()) * patches, all.patch_TP.cols()), {}};
  for (const Index n : numbers) {
    some.patch_TP.middleRows(some.images() * patches, patches) = all.patch_TP.middleRows(n * patches, patches);
    some.label.push_back(all.label[static_cast<std::size_t>(n)]);
  }
  return some;
}

/// Dosovitskiy et al. 2020, made small: a linear map of each patch and a learned position, blocks whose attention sees
/// all patches, the mean of the outputs instead of a class token, linear head.
template <class F>
struct VisionTransformer {
  using S = typename F::Scalar;

  moe::Linear<S> to_tokens;
  moe::Matrix<S> position_LD;
  Transformer<F> transformer;
  moe::Linear<S> head;

  struct Tape {
    typename Transformer<F>::Tape transformer;
    moe::Matrix<S> x_TD, h_TD, mean_ND, logits_NC, dmean_ND, dh_TD, dx_TD, dpatch_TP;
    typename moe::Linear<S>::Tape linear;
  };

  /// A tape for evaluation; for training its blocks' generators are to be seeded.
  Tape tape() const {
    Tape made;
    made.transformer = transformer.tape();
    return made;
  }

  /// Log-probabilities of every class in tape.logits_NC; returns the mean of the negative ones of the labels.
  double forward(const ImageBatch<S>& batch, Tape& tape) const;

  /// gradient += that of the mean and of the auxiliary losses.
  void backward(const ImageBatch<S>& batch, Tape& tape, VisionTransformer& gradient) const;

  template <class V, class... Self>
  static void visit_parameters(V&& f, Self&... self) {
    moe::visit_part("tokens", f, self.to_tokens...);
    f("positions", self.position_LD...);
    moe::visit_part("transformer", f, self.transformer...);
    moe::visit_part("head", f, self.head...);
  }
  template <class V, class... Self>
  static void visit_buffers(V&& f, Self&... self) {
    moe::visit_part_buffers("transformer", f, self.transformer...);
  }
};

/// A model with layer norms; `make_ffn(block)` makes each block's feed-forward part.
template <class F>
VisionTransformer<F> random_vision_transformer(const VisionSize& size, const std::function<F(Index)>& make_ffn,
                                               moe::Random& random) {
  using S = typename F::Scalar;
  VisionTransformer<F> model{moe::Linear<S>::random(size.patch * size.patch, size.width, random),
                             moe::random_matrix<S>(size.patches(), size.width, random, 0.5),
                             {},
                             {}};
  auto& [norms, attentions, ffns] = model.transformer;
  const S shrink = S(1) / std::sqrt(static_cast<S>(2 * size.blocks));  // of what is added to the residual
  norms.assign(static_cast<std::size_t>(2 * size.blocks + 1), Norm<S>::layer(size.width));
  for (Index block = 0; block < (size.shared ? 1 : size.blocks); ++block) {
    attentions.push_back(SelfAttention<S>::random(size.width, size.heads, false, false, random));
    attentions.back().to_output.weight_OD *= shrink;
    ffns.push_back(make_ffn(block));
  }
  model.head = moe::Linear<S>::random(size.width, size.classes, random);
  model.head.weight_OD *= S(0.5);
  return model;
}

// Out of the class, so that what is instantiated once need not be compiled again (support/moe_vision.hpp).
template <class F>
double VisionTransformer<F>::forward(const ImageBatch<S>& batch, Tape& tape) const {
  const Index length = position_LD.rows(), width = position_LD.cols();
  moe::require(batch.patch_TP.rows() == batch.images() * length, "VisionTransformer: ", batch.patch_TP.rows(),
               " patches of ", batch.images(), " images, an image has ", length);
  tape.x_TD.resize(batch.patch_TP.rows(), width);
  to_tokens.forward(batch.patch_TP, tape.x_TD, tape.linear, moe::DefaultExecutor{});
  for (Index n = 0; n < batch.images(); ++n) tape.x_TD.middleRows(n * length, length) += position_LD;
  transformer.forward(tape.x_TD, {.length = length}, tape.h_TD, tape.transformer);
  tape.mean_ND.resize(batch.images(), width);
  for (Index n = 0; n < batch.images(); ++n)
    tape.mean_ND.row(n) = tape.h_TD.middleRows(n * length, length).colwise().mean();
  tape.logits_NC.resize(batch.images(), head.output_width());
  head.forward(tape.mean_ND, tape.logits_NC, tape.linear, moe::DefaultExecutor{});
  return cross_entropy(tape.logits_NC, batch.label);
}

template <class F>
void VisionTransformer<F>::backward(const ImageBatch<S>& batch, Tape& tape, VisionTransformer& gradient) const {
  const Index length = position_LD.rows();
  cross_entropy_gradient(tape.logits_NC, batch.label);
  tape.dmean_ND.resize(batch.images(), position_LD.cols());
  head.backward(tape.mean_ND, tape.logits_NC, tape.linear, tape.dmean_ND, gradient.head, moe::DefaultExecutor{});
  tape.dh_TD.resize(tape.h_TD.rows(), tape.h_TD.cols());
  for (Index n = 0; n < batch.images(); ++n)
    tape.dh_TD.middleRows(n * length, length).rowwise() = tape.dmean_ND.row(n) / static_cast<S>(length);
  transformer.backward({.length = length}, tape.dh_TD, tape.transformer, tape.dx_TD, gradient.transformer);
  for (Index n = 0; n < batch.images(); ++n) gradient.position_LD += tape.dx_TD.middleRows(n * length, length);
  tape.dpatch_TP.resize(batch.patch_TP.rows(), batch.patch_TP.cols());
  to_tokens.backward(batch.patch_TP, tape.dx_TD, tape.linear, tape.dpatch_TP, gradient.to_tokens,
                     moe::DefaultExecutor{});
}

/// Of the images, the share that the tape's pass told right.
template <class S>
double share_right(const moe::Matrix<S>& logits_NC, const std::vector<std::int64_t>& label) {
  Index right = 0, best = 0;
  for (Index n = 0; n < logits_NC.rows(); ++n) {
    logits_NC.row(n).maxCoeff(&best);
    right += best == label[static_cast<std::size_t>(n)] ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(logits_NC.rows());
}

/// On images drawn at random.
template <class F>
struct VisionTraining : Training<VisionTransformer<F>> {
  using Training<VisionTransformer<F>>::Training;

  /// One step on options.sequences of the images, `fraction` of the budget being used; returns the mean loss in nats.
  double advance(const ImageBatch<typename F::Scalar>& images, double fraction);
};

template <class F>
double VisionTraining<F>::advance(const ImageBatch<typename F::Scalar>& images, double fraction) {
  moe::Random random = this->random_of_step();
  std::vector<Index> drawn;
  for (Index i = 0; i < this->options.sequences; ++i)
    drawn.push_back(static_cast<Index>(random.uniform() * static_cast<double>(images.images())));
  return this->learn(images_of(images, drawn), fraction, random);
}

}  // namespace example
