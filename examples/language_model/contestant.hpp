// One of the models that are trained side by side, whatever its type.
#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "../support/moe_language.hpp"
#include "../support/svg.hpp"
#include "../support/table.hpp"
#include "moe/io/safetensors.hpp"
#include "variants.hpp"

namespace language_model {

/// What is to be seen of a training in this run. Means are of late steps: each step moves them by a fiftieth.
struct Record {
  std::string name;
  Index parameters = 0;
  Index steps = 0;               ///< Without those before it was resumed.
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
  /// Throws moe::io::FileError if the file is not of such a training, of this model with these options.
  virtual void resume(const std::string& path) = 0;
};

/// Parameters and optimiser: with the number of steps all that a training needs to go on.
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
    moe::visit_part_buffers("adam", f, self.training.adam...);
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
    auto metadata = options();
    metadata["step"] = std::to_string(training_.step);
    moe::io::save(path, State<const example::LanguageTraining<F>>{training_}, metadata);
  }

  void resume(const std::string& path) override {
    const Index step = step_in(path);
    State<example::LanguageTraining<F>> state{training_};
    moe::io::load(path, state);
    training_.step = step;
  }

 private:
  using Metadata = std::map<std::string, std::string>;

  /// With another of these, what follows would not be the training that was saved.
  Metadata options() const {
    const example::TrainingOptions& options = training_.options;
    return {{"model", record.name},
            {"seed", std::to_string(options.seed)},
            {"length", std::to_string(options.length)},
            {"sequences", std::to_string(options.sequences)},
            {"learning rate", example::fixed(options.learning_rate, 17)}};
  }

  /// The steps of the training that the file holds; checks all else that it says.
  Index step_in(const std::string& path) const {
    const auto refuse = [&](const std::string& why) {
      throw moe::io::FileError("cannot go on from " + path + ": " + why);
    };
    Metadata metadata = moe::io::Safetensors::open(path).metadata();
    const std::string text = metadata["step"];
    Index step = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
    if (error != std::errc() || end != text.data() + text.size() || step < 0)
      refuse("its step is '" + text + "', not a number of steps");
    for (const auto& [name, value] : options())
      if (metadata[name] != value) refuse("its " + name + " is '" + metadata[name] + "', not '" + value + "'");
    return step;
  }

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
    ++record.steps;
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
    mean += (value - mean) * (std::max)(0.02, 1 / static_cast<double>(record.steps));
  }

  const auto& tape_of(std::size_t block) const { return training_.tape.transformer.blocks[block].ffn; }

  example::LanguageTraining<F> training_;
};

}  // namespace language_model
