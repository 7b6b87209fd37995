// A soft layer from bytes, as layer_fuzz.cpp does it with one that routes: against loops over tokens and slots.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "fuzz/any_layer.hpp"
#include "fuzz/bytes.hpp"
#include "fuzz/naive.hpp"
#include "moe/io/model_file.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"

namespace {

using namespace fuzz;

using Soft = moe::SoftLayer<S, AnyExpert>;

Soft any_soft_layer(Bytes& in, const Tokens& tokens) {
  std::mt19937_64 rng{in.byte()};
  std::vector<AnyExpert> experts;
  for (Index e = 0; e < tokens.experts; ++e) experts.push_back(any_expert(in, tokens.width, rng));
  const Index slots = tokens.experts * (1 + in.index(3)) + (in.index(16) == 0 ? 1 : 0);
  return {moe::random_matrix<S>(slots, tokens.width, rng),
          std::move(experts),
          {.normalize = in.flag(), .padding_gets_mean = in.flag()}};
}

/// root of the width times the row by its length, times the gains.
reference::Row normalized(reference::Row row, const Vector<S>& gain) {
  if (gain.size() == 0) return row;
  double length = 0;
  for (const double value : row) length += value * value;
  length = std::max(std::sqrt(length), 1e-12);
  for (std::size_t d = 0; d < row.size(); ++d)
    row[d] *= std::sqrt(static_cast<double>(row.size())) / length * gain(static_cast<Index>(d));
  return row;
}

double dot(const reference::Row& a, const reference::Row& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// exp by the largest; they add up to 1.
reference::Row softmax(reference::Row z) {
  if (z.empty()) return z;
  const double largest = *std::max_element(z.begin(), z.end());
  for (double& value : z) value -= largest;
  return reference::softmax(z);
}

/// The outputs of one group's tokens first ... first + size - 1.
void check_group(const Soft& layer, const moe::Batch<S>& batch, Index first, Index size, const Matrix<S>& y_TD) {
  const Index slots = layer.slot_PD.rows(), each = slots / static_cast<Index>(layer.experts.size());
  std::vector<Index> token;
  reference::Rows u, logits;
  for (Index t = first; t < first + size; ++t) {
    if (!batch.is_valid(t)) continue;
    token.push_back(t);
    u.push_back(normalized(reference::row_of(batch.x_TD, t), layer.token_gain_D));
    logits.emplace_back();
    for (Index p = 0; p < slots; ++p)
      logits.back().push_back(dot(u.back(), normalized(reference::row_of(layer.slot_PD, p), layer.slot_gain_D)));
  }
  reference::Rows out;
  for (Index p = 0; p < slots; ++p) {
    reference::Row column, mean(static_cast<std::size_t>(batch.x_TD.cols()));
    for (const auto& row : logits) column.push_back(row[static_cast<std::size_t>(p)]);
    column = softmax(column);
    for (std::size_t n = 0; n < token.size(); ++n)
      for (std::size_t d = 0; d < mean.size(); ++d) mean[d] += column[n] * u[n][d];
    out.push_back(output_of(layer.experts[static_cast<std::size_t>(p / each)], mean));
  }
  for (std::size_t n = 0; n < token.size(); ++n) {
    const reference::Row weights = softmax(logits[n]);
    for (Index d = 0; d < y_TD.cols(); ++d) {
      double sum = 0, total = 0;
      for (std::size_t p = 0; p < out.size(); ++p) {
        sum += weights[p] * out[p][static_cast<std::size_t>(d)];
        total += std::abs(weights[p] * out[p][static_cast<std::size_t>(d)]);
      }
      expect(!(total < 1e30) || is_near(y_TD(token[n], d), sum, total), "an output is not what the loops say");
    }
  }
}

struct Change {
  std::uint8_t what;
  Index by;
};

/// A backward pass of another batch than the forward pass's: refused, or no harm.
void misuse(const Soft& layer, const Tokens& tokens, Soft::Tape& tape, Change change) {
  Tokens other = tokens;
  Matrix<S> dy_TD = Matrix<S>::Ones(tokens.count, tokens.width);
  Soft gradient = moe::zeros_like(layer);
  switch (change.what % 4) {
    case 0:
      other.group_size = change.by;
      break;
    case 1:
      other.valid.assign(static_cast<std::size_t>(tokens.count), std::uint8_t{1});
      if (change.by < tokens.count) other.valid[static_cast<std::size_t>(change.by)] = 0;
      break;
    case 2:
      other.x_TD.setOnes(change.by, tokens.width);
      dy_TD.setOnes(change.by, tokens.width);
      other.valid.clear();
      other.ids.clear();
      break;
    default:
      dy_TD.setOnes(tokens.count, change.by);
  }
  (void)layer.backward(other.batch(), dy_TD, tape, gradient);
}

void run(const Soft& layer, const Tokens& tokens, Bytes& in) {
  const Ordered one{1 + in.index(4), in.flag()}, two{1 + in.index(4), in.flag()};
  const moe::Batch<S> batch = tokens.batch();
  Soft::Tape tape, other;
  const Matrix<S> y_TD = layer.forward(batch, tape, one);
  expect(same_entries(y_TD, layer.forward(batch, other, two)), "another executor gives other outputs");
  bool layers = false, clean = !tokens.wild;
  for (const AnyExpert& expert : layer.experts) layers = layers || std::holds_alternative<Inner>(expert.expert);
  for (Index i = 0; i < tokens.x_TD.size(); ++i) clean = clean && std::abs(tokens.x_TD.data()[i]) < 1e3;
  const Index size = tokens.group_size > 0 ? tokens.group_size : tokens.count;
  if (clean && !layers)
    for (Index first = 0; first < tokens.count; first += size) check_group(layer, batch, first, size, y_TD);

  std::mt19937_64 rng{in.byte()};
  const Matrix<S> dy_TD = moe::random_matrix<S>(tokens.count, tokens.width, rng);
  Soft gradient = moe::zeros_like(layer), second = gradient;
  const Matrix<S> dx_TD = layer.backward(batch, dy_TD, tape, gradient, one);
  expect(same_entries(dx_TD, layer.backward(batch, dy_TD, other, second, two)) &&
             same_state(state_of(gradient), state_of(second)),
         "another executor gives other gradients");

  Soft stepped = layer, again = moe::zeros_like(layer);
  moe::AdamW adam{stepped, {.learning_rate = 0.01}};
  (void)adam.step(stepped, gradient);
  const File file("soft");
  moe::io::save(file.path(), stepped);
  moe::io::load(file.path(), again);
  expect(same_state(state_of(again), state_of(stepped)), "a model is not what it was saved as");
  const Change change{in.byte(), in.index(9)};
  misuse(layer, tokens, tape, change);
}

/// Training passes, whose draws a seed decides, alone and with an expert beside: two executors give the same.
template <class SomeLayer>
void run_seeded(const SomeLayer& layer, const Tokens& tokens, Bytes& in) {
  const Ordered one{1 + in.index(4), in.flag()}, two{1 + in.index(4), in.flag()};
  const std::uint64_t seed = in.byte();
  const moe::Batch<S> batch = tokens.batch();
  const Matrix<S> dy_TD = Matrix<S>::Ones(tokens.count, tokens.width);
  const auto pass = [&](const Ordered& executor, SomeLayer& gradient) {
    typename SomeLayer::Tape tape{seed};
    Matrix<S> y_TD = layer.forward(batch, tape, executor);
    const Matrix<S> dx_TD = layer.backward(batch, dy_TD, tape, gradient, executor);
    (void)layer.auxiliary_loss(tape);
    return std::pair(std::move(y_TD), dx_TD);
  };
  SomeLayer gradient = moe::zeros_like(layer), second = gradient;
  const auto [y_TD, dx_TD] = pass(one, gradient);
  const auto [other_y_TD, other_dx_TD] = pass(two, second);
  expect(same_entries(y_TD, other_y_TD) && same_entries(dx_TD, other_dx_TD) &&
             same_state(state_of(gradient), state_of(second)),
         "a seed does not decide what a training pass gives");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes in(data, size);
  try {
    const Tokens tokens = any_tokens(in);
    const Soft layer = any_soft_layer(in, tokens);
    run(layer, tokens, in);
    run_seeded(layer, tokens, in);
    std::mt19937_64 rng{in.byte()};
    run_seeded(
        moe::Shared{layer, moe::SwiGlu<S>::random(tokens.width, 3, rng), moe::SigmoidMix<S>::random(tokens.width, rng)},
        tokens, in);
  } catch (const std::invalid_argument&) {  // refused, as it is documented
  }
  return 0;
}
