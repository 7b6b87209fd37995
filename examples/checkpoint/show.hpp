// What a checkpoint holds: a table of its Mixture-of-Experts layers, by their headers and settings alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "model.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/sparse_mixer.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/io/stored_layer.hpp"
#include "support/svg.hpp"
#include "support/table.hpp"

namespace checkpoint {

/// 1234567 as "1.23 M", 1536 bytes in units of 1024 as "1.50 Ki".
inline std::string short_number(std::uint64_t number, std::uint64_t unit = 1000) {
  const char* const names[] = {"", "k", "M", "G", "T", "P"};
  double value = static_cast<double>(number);
  std::size_t name = 0;
  for (; value >= static_cast<double>(unit) && name + 1 < std::size(names); ++name) value /= static_cast<double>(unit);
  if (name == 0) return std::to_string(number);
  const bool is_binary = unit == 1024;
  return example::fixed(value, value < 10    ? 2
                               : value < 100 ? 1
                                             : 0) +
         " " + (is_binary && name == 1 ? "K" : names[name]) + (is_binary ? "i" : "");
}

/// "sigmoid + bias, best 4 of 8 groups, divided by the sum, x 2.5"
inline std::string text_of(const moe::TopK& gate) {
  const moe::ChoiceWeights& weights = gate.weights;
  if (weights.are_probabilities()) return "softmax";
  if (weights.are_divided()) {
    const double norm = weights.options().norm;
    return norm == 1 ? "softmax, divided by the sum" : "softmax, divided by the " + example::label(norm) + "-norm";
  }
  return weights.reads_logits() ? "sigmoid" : "uniform";
}
inline std::string text_of(const moe::ScoredTopK& gate) {
  const moe::ScoreOptions& options = gate.scores.options();
  std::string text = gate.scores == moe::Scores::softmax(options)   ? "softmax"
                     : gate.scores == moe::Scores::sigmoid(options) ? "sigmoid"
                                                                    : "sqrt of softplus";
  if (gate.selection_bias_E.size() > 0) text += " + bias";
  if (gate.groups > 1)
    text += ", best " + std::to_string(gate.groups_used) + " of " + std::to_string(gate.groups) + " groups";
  if (options.normalize) text += ", divided by the sum";
  if (options.scale != 1) text += ", x " + example::label(options.scale);
  return text;
}
inline std::string text_of(const moe::SparseMixer&) { return "SparseMixer"; }

/// A layer as its row of the table says it, in numbers.
struct Shape {
  Index parameters = 0, active = 0;
  std::uint64_t bytes = 0;
  std::string formats;
};

inline Shape shape_of(const moe::io::Checkpoint& files, const moe::io::StoredLayer& layer, Index choices) {
  using moe::io::Part;
  Shape shape;
  Index of_experts = 0;
  std::set<std::string> formats;
  for (int p = 0; p < moe::io::number_of_parts; ++p) {
    const auto part = static_cast<Part>(p);
    const auto* const weight = layer.weight(part);
    if (weight == nullptr) continue;
    const Index size = weight->outputs * weight->inputs;
    const bool is_of_expert = part >= Part::gate && part <= Part::down_bias;
    (is_of_expert ? of_experts : shape.parameters) += size;
    formats.insert(weight->tensor->format());
  }
  const Index computing = layer.experts() - layer.copying_experts();
  shape.active = shape.parameters + (choices < computing ? choices : computing) * of_experts;
  shape.parameters += computing * of_experts;
  for (const std::string& name : layer.used()) shape.bytes += files.tensor(name).bytes;
  for (const std::string& format : formats) shape.formats += (shape.formats.empty() ? "" : ", ") + format;
  return shape;
}

/// One row for each layer, or for neighbouring ones that are alike.
inline example::Table table_of_layers(const Model& model) {
  example::Table table({"layers", "number", "experts", "k", "width", "hidden", "shared", "gate", "parameters", "active",
                        "bytes", "dtypes"});
  std::string first, last;
  std::vector<std::string> row;
  std::size_t count = 0;
  const auto finish = [&] {
    if (count == 0) return;
    std::vector<std::string> cells{count == 1 ? first : first + " .. " + last, std::to_string(count)};
    cells.insert(cells.end(), row.begin(), row.end());
    table.row(cells);
  };
  for (const std::string& name : model.layers) {
    const moe::io::StoredLayer layer(model.files, name, *model.family);
    const Index choices = std::visit([](const auto& gate) { return gate.k; }, layer.gate());
    const Shape shape = shape_of(model.files, layer, choices);
    const Index copying = layer.copying_experts();
    std::vector<std::string> own{
        std::to_string(layer.experts()) + (copying > 0 ? " (" + std::to_string(copying) + " copy)" : ""),
        std::to_string(choices),
        std::to_string(layer.width()),
        std::to_string(layer.hidden()),
        layer.shared_hidden() > 0 ? std::to_string(layer.shared_hidden()) : "-",
        std::visit([](const auto& gate) { return text_of(gate); }, layer.gate()),
        short_number(static_cast<std::uint64_t>(shape.parameters)),
        short_number(static_cast<std::uint64_t>(shape.active)),
        short_number(shape.bytes, 1024),
        shape.formats};
    if (own != row) {
      finish();
      first = name, count = 0;
      row = std::move(own);
    }
    last = name;
    ++count;
  }
  finish();
  return table;
}

}  // namespace checkpoint
