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

// Each throws moe::io::FileError or std::invalid_argument, in a sentence, with what is at `to` as it was. Long work
// tells on the error stream how far it has come.

/// `family` is the name of one, or empty: the model's own. A path that ends with ".gguf" becomes a GGUF file, any other
/// a folder.
void convert(const Model& model, const std::filesystem::path& to, const std::string& family,
             const RewriteOptions& options);

/// Of each layer, by its name, what its new experts are made of.
using SourcesOfLayers = std::map<std::string, moe::ExpertSources>;

void rearrange(const Model& model, const std::filesystem::path& to, const SourcesOfLayers& sources,
               const RewriteOptions& options);

/// Keeps the experts of the list in all layers.
SourcesOfLayers kept(const Model& model, const std::vector<Index>& experts);

/// Keeps in each layer the `count` experts that the tokens of the file choose most often.
SourcesOfLayers most_loaded(const Model& model, Index count, const std::filesystem::path& input);

/// The experts of each group become one, in the place of the first of them: their mean, or, with the tokens of a file,
/// weighted by how often they are chosen.
SourcesOfLayers merged(const Model& model, const std::vector<std::vector<Index>>& groups,
                       const std::filesystem::path& input = {});

}  // namespace checkpoint
