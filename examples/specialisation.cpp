// What the experts of a language model specialise in. Shazeer et al. 2017 (table 9) find experts for certain words and
// contexts; Zoph et al. 2022 (ST-MoE, section 7) find experts for kinds of tokens, but none for languages; Mustafa et
// al. 2022 (LIMoE) train one model on several modalities, and with entropy losses for each of them experts part by
// modality. Here one model of bytes learns four kinds of text, or one text in sixteen languages. Which expert takes
// what of held-out text: shares, the information that expert and domain have in common, and the strings that are
// typical of each expert; with the load-balance loss, and with LIMoE's entropy losses instead, a domain being a
// modality. Prints tables; writes specialisation.csv (counts) and specialisation_domains.svg,
// specialisation_languages.svg.
//
//   specialisation                     four runs
//   specialisation --data languages    only the sixteen languages
//   specialisation --quick             a short one, only four kinds of text
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "specialisation/data.hpp"
#include "specialisation/report.hpp"
#include "specialisation/routed.hpp"
#include "support/budget.hpp"
#include "support/chart.hpp"
#include "support/moe_language.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using namespace specialisation;
using example::fixed;

struct Setup {
  example::Budget budget{.steps = 600};
  std::string data = "both";
  Index experts = 8, expert_hidden = 128;
  double entropy_coefficient = 0.05;  ///< Of the mean over domains.
  double domain_experts = 2;          ///< As many experts at least are to be used by each domain.
  example::ModelSize size{.width = 64, .heads = 4, .blocks = 2, .hidden = 256};
  example::TrainingOptions training = {.learning_rate = 4e-3};
  Index tested = 128;  ///< Sequences of each domain.

  void make_quick() {
    budget.steps = (std::min)(budget.steps, Index{300});
    data = "domains";
    size = {.width = 32, .heads = 2, .blocks = 2, .hidden = 64};
    expert_hidden = 32;
    tested = 64;
  }
};

/// LIMoE's: each token is to be sure of its expert, each domain to use several, and all of them together all experts.
example::EntropyLosses entropy_losses(const Setup& setup, Index domains) {
  using Kind = moe::EntropyLoss::Kind;
  const auto label_T = labels(domains, setup.training.sequences, setup.training.length);
  const double each = setup.entropy_coefficient / static_cast<double>(domains),
               several = std::log(setup.domain_experts);
  example::EntropyLosses losses;
  for (int d = 0; d < domains; ++d) {
    losses.all.push_back({.coefficient = each, .kind = Kind::local, .modality = d, .modality_of_token = label_T});
    losses.all.push_back(
        {.coefficient = each, .kind = Kind::global, .threshold = several, .modality = d, .modality_of_token = label_T});
  }
  losses.all.push_back({.coefficient = setup.entropy_coefficient, .kind = Kind::global});
  return losses;
}

/// The last block has the mixture.
example::MoeLanguageModel random_model(const Setup& setup, const Corpus& corpus, bool with_entropies) {
  moe::Random random(setup.budget.seed);
  const auto& size = setup.size;
  const auto make_ffn = [&](Index block) -> example::MoeLayer<float> {
    if (block + 1 < size.blocks) return example::dense_layer<float>(size.width, size.hidden, random);
    auto losses = example::LossCoefficients{.load_balance = with_entropies ? 0 : 1e-2}.losses();
    if (with_entropies) std::get<example::EntropyLosses>(losses.all) = entropy_losses(setup, corpus.size());
    return {moe::Router<float>::random(setup.experts, size.width, random), moe::switch_top1(),
            moe::make_experts<moe::Mlp<float>>(setup.experts, size.width, setup.expert_hidden, random), losses};
  };
  return example::random_language_model<example::MoeLayer<float>>(corpus.alphabet.size(), size, make_ffn, random);
}

Routed train(const Setup& setup, const Corpus& corpus, bool with_entropies, Index runs) {
  auto options = setup.training;
  options.seed = setup.budget.seed;
  example::MoeLanguageTraining training(random_model(setup, corpus, with_entropies), options);
  const example::Pace pace(setup.budget.steps, setup.budget.seconds / static_cast<double>(runs));
  example::Progress progress(corpus.name + (with_entropies ? ", entropy losses" : ", load-balance loss"), 100);
  for (int shown = 0; pace.fraction(training.step) < 1;) {
    moe::Random random = training.random_of_step();
    training.advance(draw_mixed(corpus, options.sequences, options.length, random), pace.fraction(training.step),
                     random);
    for (; shown < static_cast<int>(100 * pace.fraction(training.step)); ++shown) progress.advance();
  }
  return route(training.model, corpus, held_out(corpus, setup.tested, options.length));
}

Result examine(const Setup& setup, Corpus corpus, Index runs) {
  const auto text = held_out(corpus, setup.tested, setup.training.length);
  Result result{corpus, route(random_model(setup, corpus, false), corpus, text), train(setup, corpus, false, runs),
                train(setup, corpus, true, runs)};
  return result;
}

void save(const Setup& setup, const std::vector<Result>& results) {
  example::Table table({"data", "losses", "domain", "expert", "tokens"});
  for (const Result& result : results) {
    example::HeatMap map{.title = "Which expert takes what of held-out text",
                         .subtitle = "left: trained with the load-balance loss, right (*): with entropy losses",
                         .x_name = "expert",
                         .y_name = "domain",
                         .unit = "share of the domain's tokens",
                         .rows = result.corpus.domains,
                         .values = Counts::Constant(result.corpus.size(), 2 * setup.experts + 1,
                                                    std::numeric_limits<double>::quiet_NaN())};
    for (const auto& [name, routed] : rows_of(result)) {
      const Counts count_DE = routed->by_domain();
      for (Index d = 0; d < count_DE.rows(); ++d)
        for (Index e = 0; e < setup.experts; ++e)
          table.row({result.corpus.name, name, result.corpus.domains[static_cast<std::size_t>(d)], std::to_string(e),
                     fixed(count_DE(d, e))});
      if (routed == &result.untrained) continue;
      const bool starred = routed == &result.entropies;
      if (starred) map.columns.emplace_back();  // a gap
      for (Index e = 0; e < setup.experts; ++e) map.columns.push_back(std::to_string(e) + (starred ? "*" : ""));
      map.values.middleCols(starred ? setup.experts + 1 : 0, setup.experts) =
          count_DE.array().colwise() / count_DE.rowwise().sum().array();
    }
    map.draw().save(setup.budget.file("specialisation_" + result.corpus.name + ".svg"));
  }
  table.save_csv(setup.budget.file("specialisation.csv"));
}

bool holds(bool claim, const std::string& complaint) {
  if (!claim) std::cerr << "specialisation: " << complaint << '\n';
  return claim;
}

bool plausible(const Setup& setup, const Result& result) {
  const std::string in = result.corpus.name + ": ";
  bool all = true;
  for (const auto& [name, routed] : rows_of(result)) {
    const auto tokens = static_cast<double>(routed->batch.tokens() / routed->domains);
    all &= holds((routed->by_domain().rowwise().sum().array() == tokens).all(), in + "tokens without an expert");
  }
  const auto known = [](const Routed& routed) { return shared_information(routed.by_domain()); };
  all &= holds(known(result.balance) > 1.5 * known(result.untrained),
               in + "training does not make the expert tell more of the domain");
  moe::Random random(setup.budget.seed);
  all &= holds(known(result.balance) > 3 * result.balance.shuffled_information(random) + .01,
               in + "the expert tells no more of the domain than shuffled labels do");
  all &= holds(result.entropies.token_entropy < .8 * result.balance.token_entropy,
               in + "tokens are no surer of their expert with entropy losses");
  all &= holds(experts_used(result.entropies.by_domain()) > .8 * setup.domain_experts,
               in + "a domain does not use as many experts as the global entropy loss asks for");
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  Setup setup;
  CLI::App app{"What the experts of a language model specialise in"};
  setup.budget.add_to(app);
  app.add_option("--data", setup.data, "domains, languages or both")
      ->capture_default_str()
      ->check(CLI::IsMember({"domains", "languages", "both"}));
  app.add_option("--experts", setup.experts, "of the mixture")->capture_default_str()->check(CLI::Range(2, 64));
  app.add_option("--entropy", setup.entropy_coefficient, "coefficient of the entropy losses")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    if (setup.budget.quick) setup.make_quick();
    std::vector<Corpus> corpora;
    if (setup.data != "languages") corpora.push_back(read_domains(MOE_EXAMPLE_DATA));
    if (setup.data != "domains") corpora.push_back(read_languages(MOE_EXAMPLE_DATA));
    std::vector<Result> results;
    for (Corpus& corpus : corpora)
      results.push_back(examine(setup, std::move(corpus), static_cast<Index>(2 * corpora.size())));
    print_measures(results, setup.budget.seed);
    for (const Result& result : results) print_experts(result, setup.budget.quick ? 4 : 7);
    for (const Result& result : results) conclude(result);
    save(setup, results);
    bool all = true;
    for (const Result& result : results) all &= plausible(setup, result);
    return all ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception& error) {
    std::cerr << "specialisation: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
