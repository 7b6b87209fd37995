// Checkpoints of other libraries' Mixture-of-Experts models, safetensors or GGUF: what they hold, what one of their
// layers computes, how it spreads tokens; and written anew: of another family, in another format, with fewer experts.
//
//   checkpoint show PATH                                                    a table of the layers
//   checkpoint run PATH --layer 3 --input x.safetensors --output y.safetensors
//   checkpoint stats PATH --layer 3 --input x.safetensors                   load of the experts, and a picture
//   checkpoint convert FROM TO --family qwen3_moe --dtype bf16 --shard-size 2G
//   checkpoint prune PATH --keep 6 --input x.safetensors --output TO        or --experts 0,1,2,4,5,7, or no data
//   checkpoint merge PATH --experts 0,3 --experts 1,2 --output TO           two experts become one, twice
//   checkpoint --quick                                                      all of it on a small one that it makes
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "checkpoint/model.hpp"
#include "checkpoint/quick.hpp"
#include "checkpoint/rewrite.hpp"
#include "checkpoint/run.hpp"
#include "checkpoint/show.hpp"
#include "moe/report/heat_map.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using checkpoint::Model;
using example::fixed;
using moe::Index;

struct Options {
  std::string path, family;
  Index layer = 0;
  std::string stack, input, output;
  bool in_double = false;
  std::string picture = "checkpoint_stats.svg";
  std::string target_family, dtype = "as-stored";
  Index keep = 0;
  std::vector<std::string> groups;  ///< Of experts: "0,3".
  checkpoint::RewriteOptions rewriting;

  Model open() const { return checkpoint::open_model(path, family); }
  std::string name_of_layer(const Model& model) const { return checkpoint::layer_named(model, layer, stack); }
};

void show(const Options& options) {
  const Model model = options.open();
  std::cout << options.path << ": " << model.files.architecture().value_or("no architecture") << ", read as "
            << model.family->name << "; " << model.files.names().size() << " tensors of "
            << checkpoint::short_number(checkpoint::bytes_of(model), 1024) << "B, " << model.layers.size()
            << " Mixture-of-Experts layers\n\n"
            << checkpoint::table_of_layers(model);
  if (!model.files.missing().empty())
    std::cout << "\n" << model.files.missing().size() << " tensors are in files that are missing.\n";
}

void run(const Options& options) {
  const Model model = options.open();
  const std::string layer = options.name_of_layer(model);
  const example::Progress progress("reading and running " + layer, 1);  // speaks if it takes long
  if (options.in_double)
    checkpoint::save(checkpoint::run_layer_in_double(model, layer, options.input), options.output);
  else
    checkpoint::save(checkpoint::run_layer(model, layer, options.input), options.output);
}

void stats(const Options& options) {
  const Model model = options.open();
  const std::string layer = options.name_of_layer(model);
  const example::Progress progress("routing by " + layer, 1);  // speaks if it takes long
  const checkpoint::Spread spread = checkpoint::spread_of_layer(model, layer, options.input);
  example::Table table({"expert", "chosen", "share %", "of the mean", "received", "mean weight"});
  double all = 0;
  for (const Index chosen : spread.load.chosen) all += static_cast<double>(chosen);
  const double mean = all / static_cast<double>(spread.load.chosen.size());
  for (std::size_t e = 0; e < spread.load.chosen.size(); ++e) {
    const auto chosen = static_cast<double>(spread.load.chosen[e]);
    const auto received = static_cast<double>(spread.load.received[e]);
    const double weight = spread.weight_E(static_cast<Index>(e));
    table.row({std::to_string(e), fixed(chosen), fixed(all > 0 ? 100 * chosen / all : 0, 1),
               fixed(all > 0 ? chosen / mean : 0, 2), fixed(received), fixed(received > 0 ? weight / received : 0, 3)});
  }
  std::cout << layer << " of " << options.path << "\n\n"
            << table << "\nMaxVio " << fixed(spread.load.max_violation, 2) << ", coefficient of variation "
            << fixed(spread.load.coefficient_of_variation, 2) << ", entropy " << fixed(spread.load.entropy, 3) << "\n"
            << spread.statistics << "\n";
  std::vector<std::string> rows;
  for (Index p = 0; p < spread.count_PE.rows(); ++p)
    rows.push_back((spread.by_label ? "label " : "part ") + std::to_string(p));
  std::ofstream picture(options.picture);
  moe::write_heat_map_svg(picture, spread.count_PE, rows, "Choices of " + layer,
                          spread.by_label ? "label" : "part of the input");
  picture.close();
  if (picture)
    std::cout << "Written: " << options.picture << "\n";
  else
    std::cerr << "checkpoint: cannot write the picture '" << options.picture << "'\n";
}

/// "0,3,4"
std::vector<Index> numbers_of(const std::string& text) {
  std::vector<Index> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    Index number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc() || number < 0 || (next != end && *next != ','))
      throw std::invalid_argument("experts are numbers with commas between them, such as 0,3,4, not '" + text + "'");
    numbers.push_back(number);
    if (next == end) return numbers;
    at = next + 1;
  }
}

void convert(const Options& options) {
  checkpoint::rewrite(options.open(), options.output, options.target_family, {}, options.rewriting);
}

/// Into `--output`, or beside the model with that ending of its name.
void rewrite(const Options& options, const Model& model, const checkpoint::SourcesOfLayers& sources,
             const char* ending) {
  const std::filesystem::path to =
      options.output.empty() ? checkpoint::path_beside(model, ending) : std::filesystem::path(options.output);
  checkpoint::rewrite(model, to, options.target_family, sources, options.rewriting);
  std::cout << "Written: " << to.string() << "\n";
}

void prune(const Options& options) {
  const Model model = options.open();
  if (options.groups.size() > 1) throw std::invalid_argument("--experts names the experts that stay, once");
  if (!options.groups.empty() && !options.input.empty())
    throw std::invalid_argument("either --experts says which experts stay, or --input tells which are chosen most");
  if (options.groups.empty() && options.keep < 1) throw std::invalid_argument("--keep says how many experts stay");
  checkpoint::SourcesOfLayers sources;
  if (!options.input.empty()) {
    sources = checkpoint::most_loaded(model, options.keep, options.input);
  } else if (options.groups.empty()) {
    std::cout << "In each layer the experts with the longest rows in the router's matrix stay; --input ranks them by "
                 "how often tokens choose them.\n";
    sources = checkpoint::longest_rows(model, options.keep);
  } else {
    const std::vector<Index> experts = numbers_of(options.groups.front());
    if (options.keep > 0 && options.keep != static_cast<Index>(experts.size()))
      throw std::invalid_argument("--keep is " + std::to_string(options.keep) + ", and --experts names " +
                                  std::to_string(experts.size()));
    sources = checkpoint::kept(model, experts);
  }
  rewrite(options, model, sources, "-pruned");
}

void merge(const Options& options) {
  const Model model = options.open();
  std::vector<std::vector<Index>> groups;
  for (const std::string& group : options.groups) groups.push_back(numbers_of(group));
  rewrite(options, model, checkpoint::merged(model, groups, options.input), "-merged");
}

CLI::App& command(CLI::App& app, Options& options, const char* name, const char* what) {
  CLI::App& sub = *app.add_subcommand(name, what);
  sub.add_option("PATH", options.path, "a folder with config.json, a safetensors file or a GGUF file")->required();
  sub.add_option("--family", options.family, "how the layers are stored, if not as the checkpoint's own settings say");
  return sub;
}

void add_layer(CLI::App& sub, Options& options) {
  sub.add_option("--layer", options.layer, "number of the layer in the model: N of model.layers.N or blk.N")
      ->required()
      ->check(CLI::Range(Index{0}, Index{999999}));
  sub.add_option("--stack", options.stack, "where a model has two; without it always the encoder")
      ->check(CLI::IsMember({"encoder", "decoder"}));
}

const std::map<std::string, moe::io::NumberFormat>& formats() {
  using moe::io::NumberFormat;
  static const std::map<std::string, NumberFormat> all{{"as-stored", NumberFormat::as_stored},
                                                       {"f64", NumberFormat::f64},
                                                       {"f32", NumberFormat::f32},
                                                       {"f16", NumberFormat::f16},
                                                       {"bf16", NumberFormat::bf16},
                                                       {"q8_0", NumberFormat::q8_0}};
  return all;
}

void add_rewriting(CLI::App& sub, Options& options) {
  std::vector<std::string> names;
  for (const auto& [name, format] : formats()) names.push_back(name);
  sub.add_option("--dtype", options.dtype, "of the experts' matrices")
      ->capture_default_str()
      ->transform(CLI::IsMember(names, CLI::ignore_case));
  sub.add_option("--shard-size", options.rewriting.shard_size,
                 "of a safetensors file in a folder, such as 2G; one file without it")
      ->transform(CLI::AsSizeValue(false));
  sub.add_flag("--experts-alone", options.rewriting.experts_alone,
               "leaves out all tensors that are no part of a Mixture-of-Experts layer");
}

void add_target(CLI::App& sub, Options& options, const std::string& ending) {
  sub.add_option("--output", options.output,
                 "folder for the new checkpoint, or a GGUF file if it ends with .gguf; without it the path of the old "
                 "one with " +
                     ending + " behind its name");
  sub.add_option("--to-family", options.target_family, "of the new checkpoint; that of the old one without it");
  add_rewriting(sub, options);
}

/// The words after the program's name. Returns its exit code.
int run_command(std::vector<std::string> words) {
  CLI::App app{"Checkpoints of Mixture-of-Experts models: their layers shown, run, measured and rewritten",
               "checkpoint"};
  Options options;
  bool quick = false;
  app.add_flag("--quick", quick, "makes a small checkpoint in a temporary folder and tries every command on it");
  app.require_subcommand(0, 1);
  const std::string tokens =
      "safetensors file with the tokens x [T, D], or those of a layer, model.layers.3.x, and, where they are needed, "
      "their ids [T]";

  const CLI::App& shown = command(app, options, "show", "A table of the Mixture-of-Experts layers, from headers alone");

  CLI::App& ran = command(app, options, "run",
                          "Runs one layer: writes y [T, D], logits [T, E], topk.index [T, K] (the first choice first; "
                          "-1: none), topk.weight "
                          "[T, K] and combine [T, E]");
  add_layer(ran, options);
  ran.add_option("--input", options.input, tokens)->required();
  ran.add_option("--output", options.output, "safetensors file for the results")->required();
  ran.add_flag("--double", options.in_double, "computes and writes F64 instead of F32");

  CLI::App& measured = command(app, options, "stats", "How one layer spreads tokens: a table, and a picture of it");
  add_layer(measured, options);
  measured.add_option("--input", options.input, tokens + "; with label [T] the picture has a row for each label")
      ->required();
  measured.add_option("--picture", options.picture, "SVG file for the heat map")->capture_default_str();

  CLI::App& converted = *app.add_subcommand("convert", "Writes a checkpoint as another family keeps it");
  converted.add_option("FROM", options.path, "a folder with config.json, a safetensors file or a GGUF file")
      ->required();
  converted.add_option("TO", options.output, "a folder, or a GGUF file if it ends with .gguf")->required();
  converted.add_option("--family", options.target_family, "of the new checkpoint; that of the old one without it");
  converted.add_option("--from-family", options.family, "of the old one, if it is not as its own settings say");
  add_rewriting(converted, options);

  CLI::App& pruned = command(app, options, "prune", "Writes a checkpoint whose layers keep some of their experts");
  pruned
      .add_option("--keep", options.keep,
                  "how many experts stay: those with the longest rows in the router's matrix, for which no data is "
                  "needed, if neither --input nor --experts is given")
      ->check(CLI::Range(Index{1}, Index{999999}));
  pruned.add_option("--experts", options.groups, "which experts stay, in all layers: 0,1,4")->allow_extra_args(false);
  pruned.add_option("--input", options.input, tokens + ": the experts that they choose most often stay");
  add_target(pruned, options, "-pruned");

  CLI::App& merged = command(app, options, "merge", "Writes a checkpoint in which several experts become their mean");
  merged.add_option("--experts", options.groups, "those that become one, in all layers: 0,3; may be given again")
      ->required()
      ->allow_extra_args(false);
  merged.add_option("--input", options.input, tokens + ": experts weigh as much as they are chosen");
  add_target(merged, options, "-merged");

  try {
    std::ranges::reverse(words);  // as CLI11 wants them
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    throw std::invalid_argument(std::string(error.what()) + "; see --help");
  }
  options.rewriting.format = formats().at(options.dtype);
  if (shown.parsed()) return show(options), EXIT_SUCCESS;
  if (ran.parsed()) return run(options), EXIT_SUCCESS;
  if (measured.parsed()) return stats(options), EXIT_SUCCESS;
  if (converted.parsed()) return convert(options), EXIT_SUCCESS;
  if (pruned.parsed()) return prune(options), EXIT_SUCCESS;
  if (merged.parsed()) return merge(options), EXIT_SUCCESS;
  if (quick) return checkpoint::try_commands(run_command) ? EXIT_SUCCESS : EXIT_FAILURE;
  throw std::invalid_argument("no command: show, run, stats, convert, prune, merge or --quick; see --help");
}

}  // namespace

int main(int argc, char** argv) try {
  return run_command({argv + (argc > 0 ? 1 : 0), argv + argc});
} catch (const std::exception& error) {
  std::cerr << "checkpoint: " << error.what() << '\n';
  return EXIT_FAILURE;
}
