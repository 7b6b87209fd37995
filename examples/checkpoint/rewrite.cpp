#include "rewrite.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <iostream>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>
#include <variant>

#include "common_names.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/io/any_layer.hpp"
#include "moe/io/convert_checkpoint.hpp"
#include "moe/io/stored_layer.hpp"
#include "moe/surgery/rearrange_experts.hpp"
#include "run.hpp"
#include "support/progress.hpp"

namespace checkpoint {
namespace {

moe::io::StoredLayer stored(const Model& model, const std::string& layer) {
  return {model.files, layer, *model.family};
}

/// Speaks of how many parts are done, if there is much to do.
class LongWork {
 public:
  LongWork(const Model& model, const std::string& what, std::size_t parts) {
    constexpr std::uint64_t much = std::uint64_t{1} << 28;  // bytes
    if (bytes_of(model) >= much) progress_.emplace(what, parts);
  }
  void advance() {
    if (progress_) progress_->advance();
  }

 private:
  std::optional<example::Progress> progress_;
};

/// How far a checkpoint is written: first each layer that changes is read once.
class Writing {
 public:
  explicit Writing(const Model& model) : model_(model) {}

  void read_layer() {
    if (read_ == model_.layers.size()) return;
    if (read_ == 0) work_.emplace(model_, "planning, layers", model_.layers.size());
    work_->advance();
    if (++read_ == model_.layers.size()) work_.reset();
  }
  void wrote(std::uint64_t done, std::uint64_t all) {
    constexpr int percents = 100;
    if (!work_) work_.emplace(model_, "writing, percent", percents);
    const double part = static_cast<double>(done) / static_cast<double>(all);
    for (; told_ < percents && told_ + 1 <= percents * part; ++told_) work_->advance();
  }

 private:
  const Model& model_;
  std::optional<LongWork> work_;
  std::size_t read_ = 0;
  int told_ = 0;
};

template <class S>
void write(const Model& model, const std::filesystem::path& to, const moe::io::Family& family,
           const SourcesOfLayers& sources, const RewriteOptions& options) {
  Writing writing(model);
  std::size_t others = 0, unnamed = 0;
  moe::io::ConvertOptions<S> how{
      .format = options.format,
      .shard_size = options.shard_size,
      .progress = [&writing](std::uint64_t done, std::uint64_t all) { writing.wrote(done, all); },
      .family = model.family};
  if (!sources.empty())
    how.change = [&](moe::io::AnyLayer<S>& layer, const std::string& name) {
      writing.read_layer();
      moe::rearrange_experts(layer.layer, sources.at(name));
    };
  if (options.experts_alone)
    how.rename = [](const std::string&) { return std::string(); };
  else if (family.is_gguf != model.files.is_gguf())
    how.rename = [&](const std::string& name) {
      const auto other = common_name(name, *model.family, family);
      ++others;
      if (!other) ++unnamed;
      return other.value_or(name);
    };
  moe::io::convert(model.files, to, family, how);
  if (others > 0)
    std::cerr << "checkpoint: " << unnamed << " of " << others
              << " tensors that are no expert's keep the names that they have in '" << model.files.path()
              << "', as no others are known; the rows of q and k, which llama.cpp orders anew for some architectures, "
                 "keep their order\n";
}

bool has_doubles(const Model& model) {
  return std::ranges::any_of(model.files.names(), [&model](const std::string& name) {
    return model.files.tensor(name).format.dtype == moe::io::DType::F64;
  });
}

/// The `count` experts of the largest values, in order of their numbers; of equal ones the lower number. If the gate
/// chooses groups of experts, they are as many of each group; experts that copy their input stay besides.
std::vector<Index> best(const moe::io::StoredLayer& layer, const std::vector<double>& value_E, Index count) {
  const auto* const scored = std::get_if<moe::ScoredTopK>(&layer.gate());
  const Index computing = layer.experts() - layer.copying_experts(), groups = scored != nullptr ? scored->groups : 1;
  if (count < 1 || count > computing || count % groups != 0)
    throw std::invalid_argument(
        "of the " + std::to_string(computing) + " experts of " + layer.name() + " " + std::to_string(count) +
        " cannot stay" +
        (groups > 1 ? ": as many must stay of each of their " + std::to_string(groups) + " groups" : ""));
  std::vector<Index> all;
  for (Index g = 0; g < groups; ++g) {
    std::vector<Index> group(static_cast<std::size_t>(computing / groups));
    std::iota(group.begin(), group.end(), g * (computing / groups));
    std::ranges::stable_sort(group, std::greater<>(), [&](Index e) { return value_E[static_cast<std::size_t>(e)]; });
    group.resize(static_cast<std::size_t>(count / groups));
    std::ranges::sort(group);
    all.insert(all.end(), group.begin(), group.end());
  }
  for (Index e = computing; e < layer.experts(); ++e) all.push_back(e);
  return all;
}

/// What value_E(layer) is best for in each layer.
template <class F>
SourcesOfLayers best_of_layers(const Model& model, Index count, const F& values) {
  LongWork work(model, "ranking experts, layers", model.layers.size());
  SourcesOfLayers sources;
  for (const std::string& name : model.layers) {
    const moe::io::StoredLayer layer = stored(model, name);
    sources.emplace(name, moe::ExpertSources::copies(layer.experts(), best(layer, values(layer), count)));
    work.advance();
  }
  return sources;
}

/// How often each expert is chosen.
std::vector<double> chosen(const Model& model, const std::string& layer, const std::filesystem::path& input) {
  const auto count_E = spread_of_layer(model, layer, input).load.chosen;
  return {count_E.begin(), count_E.end()};
}

}  // namespace

void rewrite(const Model& model, const std::filesystem::path& to, const std::string& family,
             const SourcesOfLayers& sources, const RewriteOptions& options) {
  const bool is_gguf = to.extension() == ".gguf";
  if (family.empty() && is_gguf != model.files.is_gguf())
    throw std::invalid_argument("'" + model.files.path() + "' is " + (is_gguf ? "no " : "a ") + "GGUF file and '" +
                                to.string() + "' is to be " + (is_gguf ? "one" : "none") + ": state a family");
  if (is_gguf && options.shard_size > 0)
    throw std::invalid_argument("'" + to.string() +
                                "' is to be a GGUF file, which has no shards: --shard-size is for "
                                "folders");
  const moe::io::Family& target = family.empty() ? *model.family : family_named(family, is_gguf);
  if (!sources.empty() && has_doubles(model))
    write<double>(model, to, target, sources, options);
  else
    write<float>(model, to, target, sources, options);
}

std::filesystem::path path_beside(const Model& model, const std::string& ending) {
  auto path = std::filesystem::absolute(model.files.path()).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a slash stood at its end
  if (std::filesystem::is_directory(path)) return path += ending;
  return path.replace_filename(path.stem() += ending + (model.files.is_gguf() ? ".gguf" : ""));
}

SourcesOfLayers kept(const Model& model, const std::vector<Index>& experts) {
  SourcesOfLayers sources;
  for (const std::string& layer : model.layers)
    sources.emplace(layer, moe::ExpertSources::copies(stored(model, layer).experts(), experts));
  return sources;
}

SourcesOfLayers most_loaded(const Model& model, Index count, const std::filesystem::path& input) {
  return best_of_layers(model, count,
                        [&](const moe::io::StoredLayer& layer) { return chosen(model, layer.name(), input); });
}

SourcesOfLayers longest_rows(const Model& model, Index count) {
  return best_of_layers(model, count, [](const moe::io::StoredLayer& layer) {
    const auto router_ED = layer.weight(moe::io::Part::router)->matrix<double>(moe::io::Precision::rounded);
    std::vector<double> length_E;
    for (Index e = 0; e < router_ED.rows(); ++e) {
      const double length = router_ED.row(e).norm();
      length_E.push_back(std::isfinite(length) ? length : -1);
    }
    return length_E;
  });
}

SourcesOfLayers merged(const Model& model, const std::vector<std::vector<Index>>& groups,
                       const std::filesystem::path& input) {
  LongWork work(model, "ranking experts, layers", model.layers.size());
  SourcesOfLayers all;
  for (const std::string& layer : model.layers) {
    const Index experts = stored(model, layer).experts();
    const std::vector<double> weights =
        input.empty() ? std::vector<double>(static_cast<std::size_t>(experts), 1.0) : chosen(model, layer, input);
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
    work.advance();
  }
  return all;
}

}  // namespace checkpoint
