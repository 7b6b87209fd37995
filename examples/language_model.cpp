// Language models of bytes, dense and with experts, trained side by side on a novel (after GShard, Lepikhin et al.
// 2020: a transformer whose every other feed-forward layer is a mixture of experts; Switch, Fedus et al. 2021, and
// others).
//
// The claim: at as many active parameters for a token, and so as much computation, a model with experts learns more
// from a step than a dense one. Measured: bits per byte of text that was not trained on, beside what counting n-grams
// reaches; tokens a second, dropped choices and balance. Prints a sample and writes language_model.svg and .csv.
//
//   language_model                          dense and Switch
//   language_model --minutes 15             the same with more time
//   language_model --models dense,gshard,noisy,hash,deepseek,expert-choice --text a_file_of_mine.txt
//   language_model --save run --stop-after 300, then --resume run: to the same bits
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "language_model/claim.hpp"
#include "language_model/contestant.hpp"
#include "language_model/options.hpp"
#include "support/chart.hpp"
#include "support/ngram.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using example::fixed;
using example::Index;
using language_model::Contestant;
using language_model::Options;
using Contestants = std::vector<std::unique_ptr<Contestant>>;

/// `ffn(block)` by every other block: the even ones are dense.
template <class F>
std::unique_ptr<Contestant> contestant(const std::string& name, Index codes, const Options& options,
                                       const std::function<F(Index)>& ffn, moe::Random& random) {
  return std::make_unique<language_model::ContestantOf<F>>(
      name, example::random_language_model<F>(codes, options.settings.size, ffn, random), options.training);
}

Contestants make_contestants(Index codes, const Options& options) {
  const auto& size = options.settings.size;
  Contestants list;
  for (const std::string& name : options.models) {
    moe::Random random(options.budget.seed);
    if (name == "deepseek")
      list.push_back(contestant<language_model::SharedLayer>(
          name, codes, options,
          [&](Index block) { return language_model::deepseek_layer(block % 2 == 0, options.settings, random); },
          random));
    else
      list.push_back(contestant<language_model::Layer>(
          name, codes, options,
          [&](Index block) {
            return name == "dense" || block % 2 == 0 ? example::dense_layer<float>(size.width, size.hidden, random)
                                                     : language_model::moe_layer(name, options.settings, random);
          },
          random));
    if (options.resume.empty()) continue;
    list.back()->resume(options.resume + "-" + name + ".safetensors");
    if (list.back()->step() != list.front()->step())
      throw std::invalid_argument("models of different steps cannot go on side by side: " + options.models.front() +
                                  " was saved at " + std::to_string(list.front()->step()) + ", " + name + " at " +
                                  std::to_string(list.back()->step()));
  }
  return list;
}

/// A step of each in turn; ten looks at held-out text on the way. Returns whether the budget is used up.
bool train(Contestants& contestants, const example::Text& text, const Options& options) {
  const example::Pace pace(options.budget.steps, options.budget.seconds);
  const Index first = contestants.front()->step();
  const auto over = [&](Index step, double fraction) {
    return fraction >= 1 || (options.stop_after > 0 && step >= options.stop_after);
  };
  double fraction = pace.fraction(first);
  if (over(first, fraction))
    throw std::invalid_argument("after " + std::to_string(first) + " steps nothing is left to train");
  example::Progress progress("training, %", 100);
  Index percent = 0, looks = static_cast<Index>(10 * fraction);
  for (Index step = first; !over(step, fraction); fraction = pace.fraction(step)) {
    std::string note = ";";
    for (auto& one : contestants) {
      one->advance(text.train, fraction);
      note += ' ' + one->record.name + ' ' + fixed(one->record.train_bits, 2);
    }
    for (; percent < static_cast<Index>(100 * fraction); ++percent) progress.advance(note + " bits");
    if (pace.fraction(++step) * 10 < static_cast<double>(looks + 1)) continue;
    ++looks;
    for (auto& one : contestants)
      one->record.curve.push_back({static_cast<double>(one->step()), one->bits(text.held_out)});
  }
  return fraction >= 1;
}

/// Of orders 1 to 4.
std::vector<double> count_n_grams(const example::Text& text) {
  std::vector<double> bits;
  for (int order = 1; order <= 4; ++order)
    bits.push_back(example::NGram(order, text.train).bits_per_byte(text.held_out));
  return bits;
}

/// What the model's curve ends at, or measured now.
double held_out_bits(Contestant& one, const example::Text& text) {
  const auto& curve = one.record.curve;
  return !curve.empty() && curve.back().x == static_cast<double>(one.step()) ? curve.back().y : one.bits(text.held_out);
}

/// Returns the held-out bits of each model. The file has their curves as well.
std::vector<double> report(const Contestants& contestants, const example::Text& text,
                           const std::vector<double>& n_grams, const Options& options) {
  example::Table table({"model", "parameters", "active", "steps", "train bits", "held-out bits", "tokens/s",
                        "dropped %", "max/mean load"});
  std::vector<std::string> columns = table.head();
  for (const example::Point& look : contestants.front()->record.curve)
    columns.push_back("held-out bits at step " + fixed(look.x));
  example::Table file(columns);
  std::vector<double> bits;
  for (const auto& one : contestants) {
    const language_model::Record& record = one->record;
    bits.push_back(held_out_bits(*one, text));
    const double tokens = static_cast<double>(record.steps * options.training.tokens());
    std::vector<std::string> cells{record.name + (record.name == "expert-choice" ? " (*)" : ""),
                                   std::to_string(record.parameters),
                                   fixed(record.active_parameters),
                                   std::to_string(one->step()),
                                   fixed(record.train_bits, 3),
                                   fixed(bits.back(), 3),
                                   fixed(tokens / record.seconds),
                                   fixed(100 * record.dropped_share, 1),
                                   fixed(record.max_over_mean, 2)};
    table.row(cells);
    for (const example::Point& look : record.curve) cells.push_back(fixed(look.y, 4));
    file.row(cells);
  }
  for (std::size_t i = 0; i < n_grams.size(); ++i)
    for (example::Table* const both : {&table, &file})
      both->row({"n-grams of order " + std::to_string(i + 1), "", "", "", "", fixed(n_grams[i], 3)});
  file.save_csv(options.budget.file("language_model.csv"));
  std::cout << '\n' << table;
  if (std::find(options.models.begin(), options.models.end(), "expert-choice") != options.models.end())
    std::cout << "(*) Expert choice is not causal: which tokens an expert takes depends on later ones, so that these "
                 "bits are too low.\n";
  return bits;
}

void draw(const Contestants& contestants, const std::vector<double>& n_grams, const Options& options) {
  example::LineChart chart{.title = "A novel, told byte by byte",
                           .subtitle = "bits per byte of held-out text, while learning from the rest",
                           .x_name = "steps of " + std::to_string(options.training.tokens()) + " bytes",
                           .y_name = "bits per byte"};
  for (const auto& one : contestants) chart.series.push_back({one->record.name, one->record.curve});
  const double last = static_cast<double>(contestants.front()->step());
  const double first = contestants.front()->record.curve.empty() ? 0 : contestants.front()->record.curve[0].x;
  for (const std::size_t order : {std::size_t{3}, std::size_t{4}})
    chart.series.push_back(
        {"n-grams of order " + std::to_string(order), {{first, n_grams[order - 1]}, {last, n_grams[order - 1]}}, true});
  chart.draw().save(options.budget.file("language_model.svg"));
}

void sample(const Contestants& contestants, const example::Text& text, const example::Alphabet& alphabet,
            const Options& options) {
  const Index known = (std::min)(options.training.length, static_cast<Index>(text.held_out.size()));
  for (const auto& one : contestants) {
    moe::Random random(options.budget.seed);
    std::string made;
    for (const std::int64_t code :
         one->continued({text.held_out.begin(), text.held_out.begin() + known}, options.sampled, random))
      made += alphabet.byte(code);
    std::cout << "\n---- " << one->record.name << " goes on from the first " << known << " bytes held out\n"
              << made << '\n';
  }
}

/// Says it of all models; `judged`: this run was the whole of the training, so that what it shows can be asked for.
bool claim_holds(const Contestants& contestants, const std::vector<double>& bits, const std::vector<double>& n_grams,
                 bool judged, const Options& options) {
  std::vector<language_model::Outcome> outcomes;
  for (std::size_t i = 0; i < bits.size(); ++i)
    outcomes.push_back({contestants[i]->record.name, contestants[i]->record.active_parameters, bits[i]});
  for (const auto& one : outcomes) std::cout << language_model::sentence(one, outcomes, n_grams) << '\n';
  if (!judged) {
    std::cout << "Not judged: this run is not a complete training.\n";
    return true;
  }
  const auto faults = language_model::faults(
      outcomes, n_grams, options.budget.quick ? language_model::quick_bounds : language_model::Bounds{});
  for (const std::string& fault : faults) std::cerr << "language_model: " << fault << '\n';
  return faults.empty();
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"Language models of bytes, dense and with experts, trained side by side"};
  Options options;
  options.add_to(app);
  CLI11_PARSE(app, argc, argv);
  options.settle(app);

  example::Alphabet alphabet;
  example::Text text(alphabet.encode(example::read_file(options.text)));
  if (options.budget.quick) text.held_out.resize((std::min)(text.held_out.size(), std::size_t{16384}));
  for (const example::Codes& part : {text.train, text.held_out})
    example::require_sequence(part, options.training.length);
  options.settings.frequencies.assign(static_cast<std::size_t>(alphabet.size()), 0);
  for (const std::int64_t code : text.train) ++options.settings.frequencies[static_cast<std::size_t>(code)];
  std::cout << text.train.size() << " bytes to learn from, " << text.held_out.size() << " held out, " << alphabet.size()
            << " different ones\n"
            << std::flush;

  Contestants contestants = make_contestants(alphabet.size(), options);
  const bool complete = train(contestants, text, options);
  if (!options.save.empty())
    for (const auto& one : contestants) one->save(options.save + "-" + one->record.name + ".safetensors");

  const std::vector<double> n_grams = count_n_grams(text);
  const std::vector<double> bits = report(contestants, text, n_grams, options);
  draw(contestants, n_grams, options);
  sample(contestants, text, alphabet, options);
  std::cout << "\nWritten: " << options.budget.file("language_model.csv") << ", "
            << options.budget.file("language_model.svg") << '\n';
  const bool judged = complete && options.resume.empty();
  return claim_holds(contestants, bits, n_grams, judged, options) ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "language_model: " << error.what() << '\n';
  return EXIT_FAILURE;
}
