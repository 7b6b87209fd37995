#include "run.hpp"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <utility>
#include <variant>
#include <vector>

#include "moe/expert/zero_computation.hpp"
#include "moe/io/any_layer.hpp"
#include "moe/io/read_layer.hpp"
#include "moe/io/safetensors_reader.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "moe/io/stored_layer.hpp"
#include "moe/layer/layer.hpp"
#include "moe/router/router.hpp"
#include "moe/routing/batch.hpp"

namespace checkpoint {
namespace {

using moe::io::AnyLayer;
using moe::io::Precision;

/// The tokens of a file for a layer of that name and width: `layer`.x, or x.
template <class S>
moe::Batch<S> read_tokens(const moe::io::Safetensors& file, const std::string& layer, Index width) {
  const std::string name = file.contains(layer + ".x") ? layer + ".x" : "x";
  moe::Matrix<S> x_TD = file.matrix<S>(name, Precision::rounded);
  if (file.tensor(name).shape.size() != 2 || x_TD.cols() != width)
    throw std::invalid_argument("tensor '" + name + "' of '" + file.path() + "' is " + to_string(file.tensor(name)) +
                                ", not rows of " + std::to_string(width) + " numbers");
  const auto tokens = static_cast<std::size_t>(x_TD.rows());
  moe::Batch<S> batch{std::move(x_TD)};
  if (!file.contains("ids")) return batch;
  auto ids = file.values<std::int64_t>("ids");
  if (ids.size() != tokens)
    throw std::invalid_argument("tensor 'ids' of '" + file.path() + "' is " + to_string(file.tensor("ids")) + " for " +
                                std::to_string(tokens) + " tokens");
  batch.ids = std::move(ids);
  return batch;
}

template <class S>
AnyLayer<S> read(const Model& model, const std::string& layer) {
  return moe::io::read_layer<AnyLayer<S>>(model.files, layer,
                                          {.family = model.family, .precision = Precision::rounded});
}

/// A layer that is only to route: instead of its experts there are some that have no weights.
using RoutingLayer = moe::Layer<moe::Router<float>, moe::io::AnyGate<float>, moe::IdentityExpert<float>>;

RoutingLayer read_routing(const Model& model, const std::string& name) {
  using moe::io::Part;
  const moe::io::StoredLayer stored(model.files, name, *model.family);
  RoutingLayer layer;
  layer.router.weight_ED = stored.weight(Part::router)->matrix<float>(Precision::rounded);
  if (stored.has(Part::router_bias))
    layer.router.bias_E = stored.weight(Part::router_bias)->vector<float>(Precision::rounded);
  std::visit([&layer](const auto& gate) { layer.gate.gate = gate; }, stored.gate());
  layer.experts.resize(static_cast<std::size_t>(stored.experts()));
  layer.dispatching = stored.dispatching();
  layer.check();
  return layer;
}

template <class S>
Results<S> run(const Model& model, const std::string& name, const std::filesystem::path& input) {
  const auto file = moe::io::Safetensors::open(input);
  const AnyLayer<S> layer = read<S>(model, name);
  const moe::Batch<S> batch = read_tokens<S>(file, name, layer.width());
  typename AnyLayer<S>::Tape tape;
  Results<S> results;
  results.y_TD = layer.forward(batch, tape);
  const moe::Routing<S>& routing = tape.routing;
  results.logits_TE = routing.logits_TE;
  Index choices = routing.choices_per_token;
  for (const auto& choice : routing.choices) choices = (std::max)(choices, Index{choice.rank} + 1);
  results.index_TK = moe::Matrix<std::int64_t>::Constant(batch.tokens(), choices, -1);
  results.weight_TK = moe::Matrix<S>::Zero(batch.tokens(), choices);
  results.combine_TE = moe::Matrix<S>::Zero(batch.tokens(), routing.experts());
  for (const auto& choice : routing.choices) results.index_TK(choice.token, choice.rank) = choice.expert;
  for (Index slot = 0; slot < tape.plan.slots(); ++slot) {
    const auto at = static_cast<std::size_t>(slot);
    const auto& choice = routing.choices[static_cast<std::size_t>(tape.plan.choice[at])];
    results.weight_TK(choice.token, choice.rank) = tape.plan.weight[at];
    results.combine_TE(choice.token, choice.expert) += tape.plan.weight[at];
  }
  return results;
}

template <class S>
void write(const Results<S>& results, const std::filesystem::path& output) {
  moe::io::SafetensorsWriter writer;
  writer.add("y", results.y_TD);
  writer.add("logits", results.logits_TE);
  writer.add("topk.index", results.index_TK);
  writer.add("topk.weight", results.weight_TK);
  writer.add("combine", results.combine_TE);
  writer.write(output);
}

/// To which part of the input each token belongs, and the number of parts.
std::pair<std::vector<Index>, Index> parts_of(const moe::io::Safetensors& file, Index tokens) {
  constexpr Index most_parts = 16, most_labels = 1000;
  std::vector<Index> part(static_cast<std::size_t>(tokens));
  if (!file.contains("label")) {
    const Index parts = (std::max)(Index{1}, (std::min)(most_parts, tokens));
    for (Index t = 0; t < tokens; ++t) part[static_cast<std::size_t>(t)] = t * parts / tokens;
    return {part, parts};
  }
  const auto labels = file.values<std::int64_t>("label");
  if (labels.size() != part.size())
    throw std::invalid_argument("tensor 'label' of '" + file.path() + "' is " + to_string(file.tensor("label")) +
                                " for " + std::to_string(tokens) + " tokens");
  Index parts = 1;
  for (std::size_t t = 0; t < part.size(); ++t) {
    if (labels[t] < 0 || labels[t] >= most_labels)
      throw std::invalid_argument("tensor 'label' of '" + file.path() + "' has " + std::to_string(labels[t]) +
                                  "; labels are numbers from 0 to " + std::to_string(most_labels - 1));
    part[t] = static_cast<Index>(labels[t]);
    parts = (std::max)(parts, part[t] + 1);
  }
  return {part, parts};
}

}  // namespace

Results<float> run_layer(const Model& model, const std::string& layer, const std::filesystem::path& input) {
  return run<float>(model, layer, input);
}
Results<double> run_layer_in_double(const Model& model, const std::string& layer, const std::filesystem::path& input) {
  return run<double>(model, layer, input);
}

void save(const Results<float>& results, const std::filesystem::path& output) { write(results, output); }
void save(const Results<double>& results, const std::filesystem::path& output) { write(results, output); }

Spread spread_of_layer(const Model& model, const std::string& name, const std::filesystem::path& input) {
  const auto file = moe::io::Safetensors::open(input);
  const RoutingLayer layer = read_routing(model, name);
  const moe::Batch<float> batch = read_tokens<float>(file, name, layer.router.width());
  const auto [part, parts] = parts_of(file, batch.tokens());
  RoutingLayer::Tape tape;
  layer.route(batch, tape);
  Spread spread{.load = moe::load_of(tape.plan),
                .statistics = moe::statistics_of(tape.routing, tape.plan),
                .weight_E = moe::Vector<double>::Zero(tape.plan.experts()),
                .count_PE = moe::count_by_class<float>(tape.plan, part, parts),
                .by_label = file.contains("label")};
  for (Index e = 0; e < tape.plan.experts(); ++e)
    for (Index slot = tape.plan.begin_of(e); slot < tape.plan.begin_of(e) + tape.plan.rows_of(e); ++slot)
      spread.weight_E(e) += static_cast<double>(tape.plan.weight[static_cast<std::size_t>(slot)]);
  return spread;
}

}  // namespace checkpoint
