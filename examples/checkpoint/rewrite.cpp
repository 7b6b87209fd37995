#include "rewrite.hpp"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "moe/io/any_layer.hpp"
#include "moe/io/convert_checkpoint.hpp"
#include "moe/io/stored_layer.hpp"
#include "moe/surgery/rearrange_experts.hpp"
#include "moe/surgery/remove_experts.hpp"
#include "run.hpp"
#include "support/progress.hpp"

namespace checkpoint {
namespace {

using moe::io::AnyLayer;

Index experts_of(const Model& model, const std::string& layer) {
  return moe::io::StoredLayer(model.files, layer, *model.family).experts();
}

/// Speaks where there is much to write.
class Told {
 public:
  void operator()(std::uint64_t done, std::uint64_t all) {
    constexpr std::uint64_t much = std::uint64_t{1} << 28, percents = 100;
    if (all < much) return;
    if (!progress_) progress_.emplace("writing, percent", percents);
    for (; told_ < done / (all / percents) && told_ < percents; ++told_) progress_->advance();
  }

 private:
  std::optional<example::Progress> progress_;
  std::uint64_t told_ = 0;
};

void write(const Model& model, const std::filesystem::path& to, const moe::io::Family& family,
           const RewriteOptions& options, std::function<void(AnyLayer<float>&, const std::string&)> change) {
  Told told;
  moe::io::ConvertOptions<float> how{.format = options.format,
                                     .shard_size = options.shard_size,
                                     .progress = [&told](std::uint64_t done, std::uint64_t all) { told(done, all); },
                                     .change = std::move(change),
                                     .family = model.family};
  if (options.experts_alone) how.rename = [](const std::string&) { return std::string(); };
  moe::io::convert(model.files, to, family, how);
}

}  // namespace

void convert(const Model& model, const std::filesystem::path& to, const std::string& family,
             const RewriteOptions& options) {
  const bool is_gguf = to.extension() == ".gguf";
  if (family.empty() && is_gguf != model.files.is_gguf())
    throw std::invalid_argument("'" + model.files.path() + "' is " + (is_gguf ? "no " : "a ") + "GGUF file and '" +
                                to.string() + "' is to be " + (is_gguf ? "one" : "none") + ": state a family");
  if (is_gguf != model.files.is_gguf() && !options.experts_alone) {
    std::set<std::string> used;
    for (const std::string& layer : model.layers) {
      const auto own = moe::io::StoredLayer(model.files, layer, *model.family).used();
      used.insert(own.begin(), own.end());
    }
    for (const std::string& name : model.files.names())
      if (!used.contains(name))
        throw std::invalid_argument("between safetensors and GGUF files experts have known names, and '" + name +
                                    "' has none: --experts-alone leaves out what is no part of an expert layer");
  }
  write(model, to, family.empty() ? *model.family : family_named(family, is_gguf), options, {});
}

void rearrange(const Model& model, const std::filesystem::path& to, const SourcesOfLayers& sources,
               const RewriteOptions& options) {
  write(model, to, *model.family, options, [&sources](AnyLayer<float>& layer, const std::string& name) {
    moe::rearrange_experts(layer.layer, sources.at(name));
  });
}

SourcesOfLayers kept(const Model& model, const std::vector<Index>& experts) {
  SourcesOfLayers sources;
  for (const std::string& layer : model.layers)
    sources.emplace(layer, moe::ExpertSources::copies(experts_of(model, layer), experts));
  return sources;
}

SourcesOfLayers most_loaded(const Model& model, Index count, const std::filesystem::path& input) {
  SourcesOfLayers sources;
  for (const std::string& layer : model.layers) {
    const moe::Load load = spread_of_layer(model, layer, input).load;
    sources.emplace(layer, moe::ExpertSources::copies(static_cast<Index>(load.chosen.size()),
                                                      moe::most_loaded_experts(load, count)));
  }
  return sources;
}

SourcesOfLayers merged(const Model& model, const std::vector<std::vector<Index>>& groups,
                       const std::filesystem::path& input) {
  SourcesOfLayers all;
  for (const std::string& layer : model.layers) {
    const Index experts = experts_of(model, layer);
    std::vector<double> weights(static_cast<std::size_t>(experts), 1.0);
    if (!input.empty()) {
      const moe::Load load = spread_of_layer(model, layer, input).load;
      std::ranges::copy(load.chosen, weights.begin());
    }
    moe::ExpertSources sources = moe::ExpertSources::all(experts);
    std::set<Index> used, gone;
    for (const std::vector<Index>& group : groups) {
      double sum = 0;
      for (const Index e : group) {
        if (e < 0 || e >= experts || !used.insert(e).second)
          throw std::invalid_argument("expert " + std::to_string(e) + " stands twice, or is none of the " +
                                      std::to_string(experts) + " experts of " + layer);
        gone.insert(e);
        sum += weights[static_cast<std::size_t>(e)];
      }
      auto& parents = sources.parents[static_cast<std::size_t>(group.front())];
      parents.clear();
      for (const Index e : group)
        parents.push_back(
            {e, sum > 0 ? weights[static_cast<std::size_t>(e)] / sum : 1 / static_cast<double>(group.size())});
      gone.erase(group.front());
    }
    for (const Index e : std::vector<Index>(gone.rbegin(), gone.rend()))
      sources.parents.erase(sources.parents.begin() + e);
    all.emplace(layer, std::move(sources));
  }
  return all;
}

}  // namespace checkpoint
