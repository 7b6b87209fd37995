// One language model with so many experts: its training, and what is measured of it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "../support/moe_language.hpp"
#include "moe/moe.hpp"

namespace scaling {

using moe::Index;
using Layer = example::MoeLayer<float>;

struct Result {
  Index experts;
  double parameters, active_parameters;
  double training_bits;  ///< Per byte, in the last tenth of the training.
  double held_out_bits;
  double training_us, inference_us;  ///< Microseconds that a byte takes.
  double busiest;                    ///< Bytes of the busiest expert, of those of an even share.
};

inline double times(double Result::*quantity, const Result& a, const Result& b) { return a.*quantity / b.*quantity; }

/// Microseconds that each byte takes, the median of many passes: what else the machine does meets some of them.
class Stopwatch {
 public:
  template <class F>
  void time(Index bytes, F&& pass) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
    taken_.push_back(taken.count() / static_cast<double>(bytes));
  }
  double median() {
    const auto middle = taken_.begin() + static_cast<std::ptrdiff_t>(taken_.size() / 2);
    std::nth_element(taken_.begin(), middle, taken_.end());
    return *middle;
  }

 private:
  std::vector<double> taken_;
};

class Run {
 public:
  Run(Index experts, Index alphabet, const example::ModelSize& size, std::uint64_t seed)
      : experts_(experts),
        training_(random_model(experts, alphabet, size, seed),
                  {.learning_rate = 0.256 / static_cast<double>(size.width), .seed = seed}) {}

  void train(std::span<const std::int64_t> text, double fraction) {
    training_clock_.time(training_.options.tokens(), [&] { bits_.push_back(training_.advance(text, fraction)); });
  }

  void time_inference(const example::TextBatch& batch) {
    inference_clock_.time(batch.tokens(), [&] { training_.model.forward(batch, tape_); });
  }

  /// After it has been trained and its inference timed.
  Result result(std::span<const std::int64_t> held_out) {
    const auto last = static_cast<std::ptrdiff_t>((std::max)(bits_.size() / 10, std::size_t{1}));
    double training_bits = 0;
    for (auto bits = bits_.end() - last; bits != bits_.end(); ++bits)
      training_bits += *bits / static_cast<double>(last);

    const auto& model = training_.model;
    const moe::Cost cost = moe::cost_of(model.transformer.ffns[1], tape_.transformer.blocks[1].ffn);
    const auto parameters = static_cast<double>(moe::parameter_count(model));
    return {.experts = experts_,
            .parameters = parameters,
            .active_parameters = parameters - static_cast<double>(cost.parameters) + cost.active_parameters(),
            .training_bits = training_bits,
            .held_out_bits = example::bits_per_byte(model, held_out, training_.options.length),
            .training_us = training_clock_.median(),
            .inference_us = inference_clock_.median(),
            .busiest = 1 + moe::load_of(tape_.transformer.blocks[1].ffn.plan).max_violation};
  }

 private:
  /// Every other block is a mixture; its experts are as large as the other one's network.
  static example::MoeLanguageModel random_model(Index experts, Index alphabet, const example::ModelSize& size,
                                                std::uint64_t seed) {
    constexpr example::LossCoefficients coefficients{.load_balance = 1e-2};
    moe::Random random(seed);
    const auto make_ffn = [&](Index block) {
      if (block % 2 == 0) return example::dense_layer<float>(size.width, size.hidden, random);
      auto router = moe::Router<float>::random(experts, size.width, random);
      router.weight_ED *= 4;  // the chosen one of many would begin with a small weight, and learn slowly
      return Layer{router, moe::switch_top1(),
                   moe::make_experts<moe::Mlp<float, moe::Relu>>(experts, size.width, size.hidden, random),
                   coefficients.losses()};
    };
    return example::random_language_model<Layer>(alphabet, size, make_ffn, random);
  }

  Index experts_;
  example::MoeLanguageTraining training_;
  example::MoeLanguageModel::Tape tape_ = training_.model.tape();
  Stopwatch training_clock_, inference_clock_;
  std::vector<double> bits_;
};

}  // namespace scaling
