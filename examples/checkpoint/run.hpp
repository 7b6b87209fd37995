// One layer of a checkpoint at work: what it computes for given tokens, and how it spreads them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "model.hpp"
#include "moe/core/core.hpp"
#include "moe/report/routing_table.hpp"
#include "moe/routing/load.hpp"

namespace checkpoint {

/// What one layer makes of T tokens, in float or double. K is the number of choices of a token.
template <class S>
struct Results {
  moe::Matrix<S> y_TD;                 ///< Of the layer alone: without norm and residual, in evaluation.
  moe::Matrix<S> logits_TE;            ///< With the router's bias.
  moe::Matrix<std::int64_t> index_TK;  ///< The chosen experts, the first choice first; -1: no choice.
  moe::Matrix<S> weight_TK;            ///< Of the choices; 0 for one whose expert was full.
  moe::Matrix<S> combine_TE;           ///< The same weights by expert, 0 for the others.
};

/// `input` is a safetensors file with tokens x [T, D], or those of this layer, `layer`.x, and, where the gate needs
/// them, their ids [T]. Throws moe::io::FileError or std::invalid_argument, in a sentence.
Results<float> run_layer(const Model& model, const std::string& layer, const std::filesystem::path& input);
Results<double> run_layer_in_double(const Model& model, const std::string& layer, const std::filesystem::path& input);

/// Writes y, logits, topk.index, topk.weight and combine.
void save(const Results<float>& results, const std::filesystem::path& output);
void save(const Results<double>& results, const std::filesystem::path& output);

/// How a layer spreads tokens over its experts.
struct Spread {
  moe::Load load;
  moe::RoutingStatistics statistics;
  moe::Vector<double> weight_E;  ///< The sum of the weights of the choices.
  /// Slots of each expert by part of the input: its rows by `label` [T], numbers from 0 on, if the file has them, or
  /// else up to 16 parts of it in order.
  moe::Matrix<double> count_PE;
  bool by_label = false;
};

/// Tokens as for run_layer, without running the experts.
Spread spread_of_layer(const Model& model, const std::string& layer, const std::filesystem::path& input);

}  // namespace checkpoint
