// One of the models that are trained side by side, whatever its type.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../support/moe_language.hpp"
#include "../support/svg.hpp"
#include "moe/io/safetensors.hpp"
#include "variants.hpp"

namespace language_model {

/// What is to be seen of a training. Means are of late steps: each step moves them by a fiftieth.
struct Record {
  std::string name;
  Index parameters = 0;
  double active_parameters = 0;  ///< Of a token, in the mean; all codes' embeddings with them.
  double seconds = 0;            ///< Of its own steps.
  double train_bits = 0;
  double dropped_share = 0, max_over_mean = 1;  ///< Of choices in training, over all layers with several experts.
  std::vector<example::Point> curve;            ///< Steps, bits of held-out text.
};

class Contestant {
 public:
  Record record;

  virtual ~Contestant() = default;
  virtual Index step() const = 0;
  virtual void advance(std::span<const std::int64_t> text, double fraction) = 0;
  virtual double bits(std::span<const std::int64_t> text) const = 0;
  /// The text with so many more codes, each drawn as the model expects it.
  virtual example::Codes continued(example::Codes prompt, Index count, moe::Random& random) const = 0;
  virtual void save(const std::string& path) const = 0;
  /// Throws moe::io::SafetensorsError if the file is not of such a training.
  virtual void resume(const std::string& path) = 0;
};

/// Parameters, the optimiser's moments: with the number of steps all that a training needs to go on.
template <class Training>
struct State {
  Training& training;

  template <class V, class... Self>
  static void visit_parameters(V&& f, Self&... self) {
    moe::visit_part("model", f, self.training.model...);
    moe::visit_part("adam", f, self.training.adam...);
  }
  template <class V, class... Self>
  static void visit_buffers(V&& f, Self&... self) {
    moe::visit_part_buffers("model", f, self.training.model...);
  }
};

template <class F>
class ContestantOf : public Contestant {
 public:
  ContestantOf(std::string name, example::LanguageModel<F> model, example::TrainingOptions options)
      : training_(std::move(model), options) {
    record.name = std::move(name);
    record.parameters = moe::parameter_count(training_.model);
  }

  Index step() const override { return training_.step; }

  void advance(std::span<const std::int64_t> text, double fraction) override {
    const auto start = std::chrono::steady_clock::now();
    const double bits = training_.advance(text, fraction);
    balance();
    record.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    look(bits);
  }

  double bits(std::span<const std::int64_t> text) const override {
    return example::bits_per_byte(training_.model, text, training_.options.length);
  }

  example::Codes continued(example::Codes text, Index count, moe::Random& random) const override {
    auto tape = training_.model.tape();
    for (Index i = 0; i < count; ++i) {
      const Index seen = (std::min)(static_cast<Index>(text.size()), training_.options.length);
      example::TextBatch batch = example::empty_batch(1, seen);
      std::copy(text.end() - seen, text.end(), batch.codes.begin());
      training_.model.forward(batch, tape);
      double left = random.uniform();
      Index code = 0;
      while (code + 1 < tape.logits_TV.cols() && (left -= std::exp(tape.logits_TV(seen - 1, code))) > 0) ++code;
      text.push_back(code);
    }
    return text;
  }

  void save(const std::string& path) const override {
    moe::io::save(path, State<const example::LanguageTraining<F>>{training_},
                  {{"step", std::to_string(training_.step)}});
  }

  void resume(const std::string& path) override {
    State<example::LanguageTraining<F>> state{training_};
    moe::io::load(path, state);
    training_.step = std::stol(moe::io::Safetensors::open(path).metadata().at("step"));
    training_.adam.steps = training_.step;
  }

 private:
  static constexpr bool is_shared = std::is_same_v<F, SharedLayer>;

  static auto& layer_of(F& ffn) {
    if constexpr (is_shared)
      return ffn.layer;
    else
      return ffn;
  }

  /// The selection's bias follows the load, where there is one.
  void balance() {
    auto& ffns = training_.model.transformer.ffns;
    for (std::size_t b = 0; b < ffns.size(); ++b)
      if (auto* gate = std::get_if<moe::ScoredTopK>(&layer_of(ffns[b]).gate.gate))
        moe::update_bias(gate->selection_bias_E, moe::load_of(tape_of(b).plan), {.rate = 1e-2});
  }

  void look(double bits) {
    double active = static_cast<double>(record.parameters), dropped = 0, max_over_mean = 0, layers = 0;
    for (std::size_t b = 0; b < training_.model.transformer.ffns.size(); ++b) {
      const auto& plan = tape_of(b).plan;
      const moe::Cost cost = moe::cost_of(training_.model.transformer.ffns[b], tape_of(b));
      active -= static_cast<double>(cost.parameters) - cost.active_parameters();
      if (plan.experts() == 1) continue;
      const moe::Load load = moe::load_of(plan);
      dropped += load.dropped_share;
      max_over_mean += load.max_violation + 1;
      ++layers;
    }
    follow(record.train_bits, bits);
    follow(record.active_parameters, active);
    if (layers == 0) return;
    follow(record.dropped_share, dropped / layers);
    follow(record.max_over_mean, max_over_mean / layers);
  }

  void follow(double& mean, double value) const {
    mean += (value - mean) * (std::max)(0.02, 1 / static_cast<double>(training_.step));
  }

  const auto& tape_of(std::size_t block) const { return training_.tape.transformer.blocks[block].ffn; }

  example::LanguageTraining<F> training_;
};

}  // namespace language_model
