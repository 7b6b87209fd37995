// Batch-prioritised routing (V-MoE, Riquelme et al. 2021): where experts accept fewer patches than there are, those
// with the highest router weights are accepted first, wherever in the batch they are. In the paper a model that was
// trained as usual then keeps its accuracy though most patches of its images are skipped, and these are the background;
// accepted in order of arrival, those of the last images of the batch are all skipped. Here a small vision transformer
// tells handwritten digits, with V-MoE's gate and losses in each block (a dense block between two mixtures would make
// up for much of what is skipped), trained with a capacity for all; then the capacity is cut. A random order tells what
// comes of the weights, and what of all images losing alike. Prints accuracy against capacity for each order and who is
// skipped, and writes vision_digits.csv, vision_digits.svg (accuracy) and vision_digits_patches.svg (which places are
// skipped).
//
//   vision_digits            4 trainings
//   vision_digits --quick    one short training
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "support/budget.hpp"
#include "support/chart.hpp"
#include "support/digits.hpp"
#include "support/moe_vision.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using example::fixed;
using moe::Index;
using Images = example::ImageBatch<float>;
using Ffn = example::MoeLayer<float>;

const std::vector<double> factors{1.05, 0.75, 0.5, 0.35, 0.25, 0.1};
constexpr std::size_t widest = 0, tight = 4;  // of these, what is compared
constexpr moe::TopK gate{.k = 2, .weights = moe::ChoiceWeights::probabilities()};

struct Sizes {
  example::VisionSize model;
  Index hidden = 64, experts = 8, repeats = 4, steps = 0;
  double seconds = 0;  ///< Of each training, if not by steps.
};

/// What one order of service makes of the test's images, all of them in one batch. A patch is skipped if no expert of
/// the first mixture accepts it; that also changes what the later ones get.
struct Service {
  double right = 0, dropped = 0;  ///< Of images; of choices.
  double ink_skipped = 0;         ///< Of the darkness of the images, that of the skipped patches.
  double skipped = 0, skipped_first = 0, skipped_last = 0;  ///< Of patches: all, in either half of the batch.
  moe::Matrix<double> skipped_at = moe::Matrix<double>::Zero(4, 4);

  Service& operator+=(const Service& other) {
    right += other.right, dropped += other.dropped, ink_skipped += other.ink_skipped, skipped += other.skipped;
    skipped_first += other.skipped_first, skipped_last += other.skipped_last, skipped_at += other.skipped_at;
    return *this;
  }
  Service& operator/=(double n) {
    for (double* part : {&right, &dropped, &ink_skipped, &skipped, &skipped_first, &skipped_last}) *part /= n;
    skipped_at /= n;
    return *this;
  }
};

enum Order : std::size_t { prioritized, by_lot, of_arrival };
const std::vector<std::string> orders{"batch-prioritised", "by lot", "order of arrival"};

/// Of an order, for each factor.
using Services = std::vector<std::vector<Service>>;

/// V-MoE's: noise of 1 / E, importance of the probabilities without it, load by the k-th largest logit.
Ffn mixture(const Sizes& sizes, moe::Random& random) {
  const double coefficient = 0.005;
  return {
      moe::Router<float>::random(sizes.experts, sizes.model.width, random), moe::FixedNoise{gate, 1.0},
      moe::make_experts<moe::Mlp<float, moe::Relu>>(sizes.experts, sizes.model.width, sizes.hidden, random),
      example::RoutingLosses{
          moe::ImportanceLoss{.coefficient = coefficient, .source = moe::ImportanceLoss::Source::clean_probabilities},
          moe::LoadLoss{.coefficient = coefficient, .threshold = moe::LoadLoss::Threshold::kth_largest},
          moe::LoadBalanceLoss{.coefficient = 0}, moe::RouterZLoss{.coefficient = 0}, example::EntropyLosses{}},
      moe::Capacity::factor(1.05)};
}

example::MoeVisionTransformer train(const Sizes& sizes, const Images& images, std::uint64_t seed) {
  moe::Random random(seed);
  const auto ffn = [&](Index) { return mixture(sizes, random); };
  example::MoeVisionTraining training(example::random_vision_transformer<Ffn>(sizes.model, ffn, random),
                                      {.sequences = 32, .learning_rate = 4e-3, .seed = seed});
  const example::Pace pace(sizes.steps, sizes.seconds);
  for (double used = 0; used < 1; used = pace.fraction(training.step)) training.advance(images, used);
  return std::move(training.model);
}

/// The model as it is, but for who is served and in which order.
Service serve(example::MoeVisionTransformer model, const Images& images, double factor, Order order) {
  for (Ffn& ffn : model.transformer.ffns) {
    ffn.dispatching.capacity = moe::Capacity::factor(factor);
    if (order == of_arrival)
      ffn.gate = gate;
    else
      ffn.gate = moe::Prioritized{gate, order == by_lot ? moe::Priority::random : moe::Priority::best_probability};
  }
  auto tape = model.tape();
  moe::Random random(1);
  if (order == by_lot) example::Transformer<Ffn>::seed(tape.transformer, random);  // nothing else here draws
  model.forward(images, tape);
  Service service{.right = example::share_right(tape.logits_NC, images.label)};
  const auto& plan = tape.transformer.blocks[0].ffn.plan;
  service.dropped = moe::load_of(plan).dropped_share;
  const Index patches = images.patches();
  for (Index t = 0; t < plan.tokens(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    if (plan.first_of_token[i] < plan.first_of_token[i + 1]) continue;
    service.skipped_at(t % patches / 4, t % 4) += 1.0 / static_cast<double>(images.images());
    (2 * t < plan.tokens() ? service.skipped_first : service.skipped_last) += 2.0 / static_cast<double>(plan.tokens());
    service.ink_skipped += static_cast<double>(images.patch_TP.row(t).sum());
  }
  service.skipped = service.skipped_at.mean();
  service.ink_skipped /= static_cast<double>(images.patch_TP.sum());
  return service;
}

/// Means over all trainings.
Services run(const Sizes& sizes, std::uint64_t seed) {
  const Services none(orders.size(), std::vector<Service>(factors.size()));
  std::vector<Services> each(static_cast<std::size_t>(sizes.repeats), none);
  example::Progress progress("training", each.size());
  moe::DefaultExecutor{}.parallel_for(sizes.repeats, [&](Index i) {
    const std::uint64_t own_seed = seed * 1000 + static_cast<std::uint64_t>(i);
    const auto data = example::read_digits(MOE_EXAMPLE_DATA "/digits8x8.csv", own_seed);
    const auto model = train(sizes, example::cut_images(data.train.x_TD, data.train.labels, sizes.model), own_seed);
    const Images tested = example::cut_images(data.test.x_TD, data.test.labels, sizes.model);
    for (const Order o : {prioritized, by_lot, of_arrival})
      for (std::size_t f = 0; f < factors.size(); ++f)
        each[static_cast<std::size_t>(i)][o][f] = serve(model, tested, factors[f], o);
    progress.advance();
  });
  Services mean = none;
  for (std::size_t o = 0; o < orders.size(); ++o)
    for (std::size_t f = 0; f < factors.size(); ++f) {
      for (const Services& one : each) mean[o][f] += one[o][f];
      mean[o][f] /= static_cast<double>(each.size());
    }
  return mean;
}

/// The images' places, once for each order.
void draw_patches(const Services& services, std::size_t f, const std::string& path) {
  moe::Matrix<double> all = moe::Matrix<double>::Constant(4, 14, std::numeric_limits<double>::quiet_NaN());
  std::vector<std::string> columns(14);
  for (std::size_t o = 0; o < orders.size(); ++o) {
    all.middleCols(static_cast<Index>(5 * o), 4) = services[o][f].skipped_at;
    for (std::size_t x = 0; x < 4; ++x) columns[5 * o + x] = std::to_string(x + 1);
  }
  const example::HeatMap map{.title = "How often a patch is skipped, by place; capacity factor " + fixed(factors[f], 2),
                             .subtitle = "from the left: batch-prioritised, by lot, in order of arrival",
                             .x_name = "column of patches",
                             .y_name = "row of patches",
                             .unit = "share of the images",
                             .rows = {"1", "2", "3", "4"},
                             .columns = columns,
                             .values = all};
  map.draw().save(path);
}

void report(const Services& services, const example::Budget& budget) {
  example::Table table({"capacity factor", "order", "right, %", "choices dropped, %", "patches skipped, %",
                        "of the ink, %", "of the first half, %", "of the last, %"});
  example::LineChart chart{.title = "Handwritten digits: who is served where experts have little room",
                           .subtitle = "right answers (%) on 500 digits not trained on, all in one batch",
                           .x_name = "capacity factor",
                           .y_name = "right in the test (%)"};
  const auto percent = [](double share) { return fixed(100 * share, 1); };
  for (const std::string& order : orders) chart.series.push_back({order, {}});
  for (std::size_t f = 0; f < factors.size(); ++f)
    for (std::size_t o = 0; o < orders.size(); ++o) {
      const Service& it = services[o][f];
      table.row({fixed(factors[f], 2), orders[o], percent(it.right), percent(it.dropped), percent(it.skipped),
                 percent(it.ink_skipped), percent(it.skipped_first), percent(it.skipped_last)});
      chart.series[o].points.push_back({factors[f], 100 * it.right});
    }
  std::cout << table << '\n';
  table.save_csv(budget.file("vision_digits.csv"));
  chart.draw().save(budget.file("vision_digits.svg"));
  draw_patches(services, tight, budget.file("vision_digits_patches.svg"));
}

/// What was measured, in words; false if it speaks against the paper.
bool judge(const Services& services) {
  const Service &first = services[prioritized][tight], &lot = services[by_lot][tight],
                &arrival = services[of_arrival][tight];
  const double gain = 100 * (first.right - arrival.right);
  const double between = 100 * std::abs(services[prioritized][widest].right - services[of_arrival][widest].right);
  const double background = first.skipped - first.ink_skipped;
  std::cout << "With a capacity factor of " << fixed(factors[tight], 2) << " prioritised routing is right "
            << fixed(gain, 1) << " points of per cent more often than order of arrival\nand "
            << fixed(100 * (first.right - lot.right), 1) << " more than a lot; with " << fixed(factors[widest], 2)
            << " the first two differ by " << fixed(between, 1) << ". The " << fixed(100 * first.skipped)
            << " % of patches that it skips hold " << fixed(100 * first.ink_skipped) << " %\nof the ink: they are "
            << (background > 0.05 ? "background, as in the paper" : "not the background, unlike in the paper")
            << ". In order of arrival " << fixed(100 * arrival.skipped_first) << " % are skipped in the first half\n"
            << "of the batch and " << fixed(100 * arrival.skipped_last) << " % in the last, with priorities "
            << fixed(100 * first.skipped_first) << " % and " << fixed(100 * first.skipped_last) << " %.\n";
  bool equal = true;
  for (std::size_t f = 0; f < factors.size(); ++f)
    equal = equal && std::abs(services[prioritized][f].dropped - services[of_arrival][f].dropped) < 1e-9;
  const bool holds = equal && gain > 4 && between < 1.5 && services[prioritized][widest].right > 0.85;
  if (!holds) std::cerr << "vision_digits: the order of service did not do what the paper says\n";
  return holds;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"A vision transformer with experts whose room is cut: batch-prioritised routing (V-MoE)"};
  example::Budget budget{.steps = 400};
  Sizes sizes{.model = {.width = 32, .blocks = 4}};
  budget.add_to(app);
  app.add_option("--experts", sizes.experts, "of each mixture")->check(CLI::Range(2, 1024));
  app.add_option("--repeats", sizes.repeats, "trainings")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (budget.quick) sizes.repeats = 1, budget.steps = 300;
  sizes.steps = budget.steps;
  sizes.seconds = budget.seconds / static_cast<double>(sizes.repeats);
  const Services services = run(sizes, budget.seed);
  report(services, budget);
  const bool holds = judge(services);
  std::cout << "\nWritten: " << budget.file("vision_digits.csv") << ", " << budget.file("vision_digits.svg") << ", "
            << budget.file("vision_digits_patches.svg") << '\n';
  return holds ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "vision_digits: " << error.what() << '\n';
  return EXIT_FAILURE;
}
