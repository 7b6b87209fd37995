// A checkpoint written anew: as another family keeps it, in another number format, with fewer experts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model.hpp"
#include "moe/io/number_format.hpp"
#include "moe/surgery/expert_sources.hpp"

namespace checkpoint {

struct RewriteOptions {
  moe::io::NumberFormat format = moe::io::NumberFormat::as_stored;  ///< Of the experts' matrices.
  std::uint64_t shard_size = 0;                                     ///< In bytes; 0: one file.
  bool experts_alone = false;  ///< Leaves out the tensors that are no part of a Mixture-of-Experts layer.
};

/// Of each layer, by its name, what its new experts are made of.
using SourcesOfLayers = std::map<std::string, moe::ExpertSources>;

/// Writes the model as another family keeps it, with new experts if there are `sources`. `family` is the name of one,
/// or empty: the model's own. A path that ends with ".gguf" becomes a GGUF file, any other a folder. Between the two
/// kinds the other tensors get the names of common_names.hpp, or keep their own, and the error stream tells how many.
///
/// Throws moe::io::FileError or std::invalid_argument, in a sentence, with what is at `to` as it was. Long work tells
/// on the error stream how far it has come.
void rewrite(const Model& model, const std::filesystem::path& to, const std::string& family,
             const SourcesOfLayers& sources, const RewriteOptions& options);

/// Where a changed model goes if nothing is said: "models/qwen" and "-pruned" are "models/qwen-pruned", and
/// "qwen.gguf" becomes "qwen-pruned.gguf".
std::filesystem::path path_beside(const Model& model, const std::string& ending);

/// Keeps the experts of the list in all layers.
SourcesOfLayers kept(const Model& model, const std::vector<Index>& experts);

/// Keeps in each layer the `count` experts that the tokens of the file choose most often; where the gate chooses groups
/// of experts, as many of each group. Experts that copy their input stay besides.
SourcesOfLayers most_loaded(const Model& model, Index count, const std::filesystem::path& input);

/// The same without tokens: those with the longest rows in the router's matrix.
SourcesOfLayers longest_rows(const Model& model, Index count);

/// The experts of each group become one, in the place of the first of them: their mean, or, with the tokens of a file,
/// weighted by how often they are chosen.
SourcesOfLayers merged(const Model& model, const std::vector<std::vector<Index>>& groups,
                       const std::filesystem::path& input = {});

}  // namespace checkpoint
