// A checkpoint is read, fine-tuned and written as another family keeps it. The program makes one first: a language
// model of bytes whose blocks are mixtures learns an English novel, and is written as Mixtral's layers are. That
// checkpoint is read back, its experts alone learn Spanish, all else being frozen, and the result is written as Qwen3's
// layers are. Prints the bits that a byte of held-out text costs after each stage. Writes the two checkpoints.
//
//   fine_tune_checkpoint            600 steps of each training
//   fine_tune_checkpoint --quick    a short one
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moe/io/checkpoint_writer.hpp"
#include "moe/io/read_layer.hpp"
#include "moe/io/write_layer.hpp"
#include "moe/moe.hpp"
#include "support/budget.hpp"
#include "support/language_training.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"
#include "support/text.hpp"

namespace {

using example::Codes;
using example::fixed;
using moe::Index;

using Mixture =
    moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>, moe::Losses<moe::LoadBalanceLoss, moe::RouterZLoss>>;
using Model = example::LanguageModel<Mixture>;

struct Setup {
  example::Budget budget{.steps = 600};  ///< Of each of the two trainings.
  Index experts = 8, expert_hidden = 96, length = 64, tested = 8000;
  example::ModelSize size{.width = 64, .heads = 4, .blocks = 2};

  void make_quick() {
    budget.steps = (std::min)(budget.steps, Index{80});
    experts = 4, expert_hidden = 32, length = 32, tested = 2000;
    size = {.width = 32, .heads = 2, .blocks = 2};
  }
};

Model random_model(const Setup& setup, Index codes) {
  moe::Random random(setup.budget.seed);
  const Index width = setup.size.width;
  return example::random_language_model<Mixture>(
      codes, setup.size,
      [&](Index) -> Mixture {
        return {moe::Router<float>::random(setup.experts, width, random), moe::TopK{.k = 2},
                moe::make_experts<moe::SwiGlu<float>>(setup.experts, width, setup.expert_hidden, random),
                moe::Losses{moe::LoadBalanceLoss{}, moe::RouterZLoss{}}};
      },
      random);
}

std::string name_of_layer(std::size_t block) { return "model.layers." + std::to_string(block); }

/// What is no mixture: embedding, norms, attention, head.
template <class SomeModel, class F>
void for_each_other(SomeModel& model, F&& f) {
  moe::for_each_parameter(
      [&](std::string_view name, auto& parameter) {
        if (!name.starts_with("transformer.ffns.")) f(std::string(name), parameter);
      },
      model);
}

/// The mixtures as the family keeps them, all else by the names of the model.
void save(const Model& model, const moe::io::Family& family, const std::string& folder) {
  moe::io::CheckpointWriter writer;
  const std::vector<Mixture>& mixtures = model.transformer.ffns;
  for (std::size_t b = 0; b < mixtures.size(); ++b) moe::io::write_layer(writer, mixtures[b], family, name_of_layer(b));
  for_each_other(model, [&](const std::string& name, const auto& parameter) {
    moe::Matrix<float> plain;
    if constexpr (requires { parameter.matrix(); })
      plain = parameter.matrix();
    else
      plain = parameter;
    const std::vector<std::uint64_t> shape{static_cast<std::uint64_t>(plain.rows()),
                                           static_cast<std::uint64_t>(plain.cols())};
    writer.add({name, moe::io::format_of(moe::io::DType::F32), shape, [plain](const moe::io::ByteSink& sink) {
                  sink(std::as_bytes(std::span(plain.data(), static_cast<std::size_t>(plain.size()))));
                }});
  });
  writer.write_folder(folder);
}

/// Into a model of the same sizes.
void load(Model& model, const std::string& folder) {
  const auto checkpoint = moe::io::Checkpoint::open(folder);
  for (std::size_t b = 0; b < model.transformer.ffns.size(); ++b) {
    Mixture& mixture = model.transformer.ffns[b];
    const auto losses = mixture.losses;  // the program's
    mixture = moe::io::read_layer<Mixture>(checkpoint, name_of_layer(b));
    mixture.losses = losses;
  }
  for_each_other(
      model, [&](const std::string& name, auto& parameter) { parameter = checkpoint.stored(name).matrix<float>(); });
}

/// Trains what is not frozen; all of it without a list.
void train(Model& model, const Setup& setup, std::span<const std::int64_t> text, double learning_rate,
           const moe::Frozen& frozen, const char* what) {
  example::LanguageTraining<Mixture> training(
      model, {.length = setup.length, .learning_rate = learning_rate, .seed = setup.budget.seed});
  training.adam.frozen = frozen;
  constexpr int parts = 10;
  example::Progress progress(what, parts);
  const example::Pace pace(setup.budget.steps, setup.budget.seconds / 2);
  for (int part = 1; part <= parts; ++part) {
    for (double used = pace.fraction(training.step); used < static_cast<double>(part) / parts;
         used = pace.fraction(training.step))
      training.advance(text, used);
    progress.advance();
  }
  model = training.model;
}

std::vector<std::string> names_of_experts(const Model& model) {
  std::vector<std::string> names;
  for (std::size_t b = 0; b < model.transformer.ffns.size(); ++b)
    names.push_back("transformer.ffns." + std::to_string(b) + ".experts");
  return names;
}

/// Bits that a byte of each text costs.
struct Stage {
  std::string name;
  double english = 0, spanish = 0;
  bool operator==(const Stage& other) const { return english == other.english && spanish == other.spanish; }
};

struct Texts {
  example::Alphabet alphabet;
  example::Text english{alphabet.encode(example::read_file(MOE_EXAMPLE_DATA "/domains/emma.txt"))},
      spanish{alphabet.encode(example::read_file(MOE_EXAMPLE_DATA "/domains/mateo.txt"))};
};

Stage stage(const std::string& name, const Model& model, const Setup& setup, const Texts& texts) {
  const auto bits = [&](const Codes& held_out) {
    const auto some = std::span(held_out).first((std::min)(held_out.size(), static_cast<std::size_t>(setup.tested)));
    return example::bits_per_byte(model, some, setup.length);
  };
  return {name, bits(texts.english.held_out), bits(texts.spanish.held_out)};
}

/// Whether all but the experts has the same bits in both.
bool rest_is_the_same(const Model& a, const Model& b, const moe::Frozen& frozen) {
  bool same = true;
  moe::for_each_parameter(
      [&](std::string_view name, const auto& of_a, const auto& of_b) {
        if (frozen.contains(name)) same = same && std::equal(of_a.data(), of_a.data() + of_a.size(), of_b.data());
      },
      a, b);
  return same;
}

bool holds(bool claim, const char* complaint) {
  if (!claim) std::cerr << "fine_tune_checkpoint: " << complaint << '\n';
  return claim;
}

bool run(const Setup& setup) {
  const Texts texts;
  const std::string mixtral = setup.budget.file("fine_tune_mixtral"), qwen = setup.budget.file("fine_tune_qwen3_moe");
  std::vector<Stage> stages;
  const auto tell = [&](const char* name, const Model& model) { stages.push_back(stage(name, model, setup, texts)); };

  Model model = random_model(setup, texts.alphabet.size());
  train(model, setup, texts.english.train, 4e-3, {}, "learning English");
  tell("learned English", model);
  save(model, *moe::io::find_family("mixtral"), mixtral);

  model = random_model(setup, texts.alphabet.size());
  load(model, mixtral);
  tell("read from a checkpoint as Mixtral's", model);

  const Model before = model;
  const moe::Frozen frozen = moe::Frozen::all_but(names_of_experts(model));
  train(model, setup, texts.spanish.train, 2e-3, frozen, "experts learning Spanish");
  tell("its experts learned Spanish", model);
  save(model, *moe::io::find_family("qwen3_moe"), qwen);

  Model again = random_model(setup, texts.alphabet.size());
  load(again, qwen);
  tell("read from a checkpoint as Qwen3's", again);

  example::Table table({"bits per byte of held-out text", "English", "Spanish"});
  for (const Stage& one : stages) table.row({one.name, fixed(one.english, 3), fixed(one.spanish, 3)});
  std::cout << table << "\nWritten: " << mixtral << ", " << qwen << '\n';
  bool good = holds(stages[0] == stages[1], "the checkpoint as Mixtral's is another model than was written");
  good &= holds(stages[2] == stages[3], "the checkpoint as Qwen3's is another model than was written");
  good &= holds(rest_is_the_same(before, model, frozen), "something beside the experts has moved");
  good &= holds(stages[2].spanish < stages[1].spanish - 0.1, "the experts did not learn Spanish");
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  Setup setup;
  CLI::App app{"A checkpoint is read, fine-tuned and written as another family keeps it"};
  setup.budget.add_to(app);
  CLI11_PARSE(app, argc, argv);
  try {
    if (setup.budget.quick) setup.make_quick();
    return run(setup) ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception& error) {
    std::cerr << "fine_tune_checkpoint: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
