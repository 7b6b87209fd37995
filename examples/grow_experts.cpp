// New kinds of text arrive after training. A language model of bytes with 4 experts has learned two English texts; then
// it is to learn Spanish and C as well. 4 experts are added, and they alone are trained, with their rows of the router:
// what the old experts know keeps its bits. Compared with training on only the newcomers' texts, with fine-tuning all
// parameters, and with training anew on everything. Prints a table and writes grow_experts.svg.
//
//   grow_experts
//   grow_experts --quick    a smoke test
//
// A router that sees new text only sends everything to the newcomers, old text too: nothing tells it not to. So a
// quarter of the old text is kept, a quarter of each batch is drawn from it, and a label tells the gate which tokens
// are old (moe/loss/gate_label.hpp).
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "grow_experts/report.hpp"
#include "grow_experts/text.hpp"
#include "grow_experts/training.hpp"
#include "moe/moe.hpp"
#include "support/progress.hpp"

namespace {

using grow::Diet;
using grow::Index;
using grow::Learner;
using grow::Model;

/// The first quarter of each old text.
std::vector<grow::Domain> kept_of(const std::vector<const grow::Domain*>& old_texts) {
  std::vector<grow::Domain> kept;
  for (const grow::Domain* domain : old_texts) {
    kept.push_back(*domain);
    kept.back().train.codes.resize(domain->train.codes.size() / 4);
  }
  return kept;
}

/// Whether all that is not a newcomer's has kept its bits.
bool kept_its_bits(const Model& grown, const Model& before) {
  Model old = grown;
  moe::keep_experts(old.moe, {0, 1, 2, 3});
  return moe::flatten(old) == moe::flatten(before);
}

/// Whether the grown model forgets less than half of what the fine-tuned one does, and learns what is new.
bool plausible(const grow::Result& before, const grow::Result& grown, const grow::Result& tuned) {
  const auto change = [&](const grow::Result& result, std::size_t d) { return result.bits[d] - before.bits[d]; };
  bool holds = true;
  for (const std::size_t d : {0u, 1u}) holds = holds && change(grown, d) < change(tuned, d) / 2;
  for (const std::size_t d : {2u, 3u}) holds = holds && change(grown, d) < -1.5;
  if (!holds) std::cerr << "grow_experts: old text is forgotten, or new text not learned\n";
  return holds;
}

}  // namespace

int main(int argc, char** argv) try {
  const bool quick = argc == 2 && std::string_view(argv[1]) == "--quick";
  if (argc > 1 && !quick) {
    std::cerr << "usage: grow_experts [--quick]\n";
    return 2;
  }
  const Index steps = quick ? 20 : 800;
  const grow::Texts texts = grow::read_texts(MOE_EXAMPLE_DATA "/domains");
  const auto old_texts = texts.of(false), new_texts = texts.of(true);
  const std::vector<grow::Domain> kept = kept_of(old_texts);
  const std::vector<const grow::Domain*> kept_texts{&kept[0], &kept[1]};
  moe::Random random(1);
  example::Progress progress("training", static_cast<std::size_t>(7 * steps));

  Learner base{Model::random(texts.codes, grow::old_experts, random)};
  std::cout << "A model of bytes with " << moe::parameter_count(base.model)
            << " parameters; four texts of some 60 kB.\n"
            << std::flush;
  grow::train(base, {old_texts, {}}, steps, random, progress);
  std::vector<grow::Result> results{examine("4 experts, old texts", base, texts)};

  const auto go_on = [&](const std::string& name, Learner learner, const Diet& diet) {
    grow::train(learner, diet, steps, random, progress);
    results.push_back(examine(name, learner, texts));
    return learner;
  };
  const auto grown = [&](double label_coefficient) {
    Learner learner = base;
    grow::grow_by_newcomers(learner, label_coefficient, random);
    return learner;
  };
  go_on("4 newcomers, new texts only", grown(0), {new_texts, {}});
  const Learner four_more = go_on("4 newcomers, and 1/4 of the old texts", grown(3), {new_texts, kept_texts, .25});
  go_on("all fine-tuned, new texts only", base, {new_texts, {}});
  go_on("all fine-tuned, and 1/4 of the old texts", base, {new_texts, kept_texts, .25});
  Learner anew{Model::random(texts.codes, grow::old_experts + grow::newcomers, random)};
  grow::train(anew, {new_texts, old_texts, .5}, steps, random, progress);
  go_on("8 experts anew, all texts", anew, {new_texts, old_texts, .5});

  grow::print(std::cout, results, texts);
  grow::draw(results, texts, "grow_experts.svg");
  std::cout << "\nWritten: grow_experts.svg\n";
  if (!kept_its_bits(four_more.model, base.model)) {
    std::cerr << "grow_experts: a frozen parameter has changed\n";
    return EXIT_FAILURE;
  }
  return quick || plausible(results[0], results[2], results[3]) ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "grow_experts: " << error.what() << '\n';
  return EXIT_FAILURE;
}
