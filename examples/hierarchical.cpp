// Mixtures of mixtures. Shazeer et al. (2017), appendix B: where there are very many experts, a gate chooses groups of
// them and each group has a gate of its own, so that fewer logits are computed for a token. Jordan and Jacobs (1994):
// a tree of soft gates over linear experts is a mixture density, and is trained as such.
//
// Here a layer of 4 groups of 4 linear experts, a moe::Layer whose experts are moe::Layers, is compared with a flat
// layer of 16, with as many experts active for a token, and with a single linear map: sparse, 2 groups and 2 experts in
// each against the 4 best of 16, noisy gates with importance and load losses on both levels, on handwritten digits; and
// dense, all gates soft, on the mixture's likelihood, on vowels (Peterson and Barney 1952) told by pitch and formants.
//
//   hierarchical            5 runs
//   hierarchical --quick    2 short runs
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "hierarchical/comparison.hpp"
#include "hierarchical/training.hpp"
#include "moe/core/core.hpp"
#include "support/budget.hpp"
#include "support/chart.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using example::fixed;
using hierarchical::Comparison;
using hierarchical::Result;
using hierarchical::Row;
using hierarchical::Shape;
using moe::Index;

void add_rows(example::Table& table, std::string_view data, const Comparison& rows, bool dense) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Result& r = rows[i];
    const bool balanced = !dense && i != hierarchical::linear_row;  // a dense gate sends every token to all
    table.row({std::string(data) + ": " + r.name, std::to_string(r.experts), std::to_string(r.active),
               std::to_string(r.parameters), fixed(r.router_products), fixed(r.train.back().loss, 3),
               fixed(r.test.back().loss, 3), fixed(100 * r.test.back().right, 1),
               balanced && i == hierarchical::tree_row ? fixed(r.spread.groups, 2) : "",
               balanced ? fixed(r.spread.experts, 2) : "", fixed(r.milliseconds, 2)});
  }
}

void draw(const Comparison& rows, const std::string& title, const std::string& y_name, const std::string& path) {
  example::LineChart chart{.title = title,
                           .subtitle = "averages over the runs; of the test unless training is said",
                           .x_name = "training done (%)",
                           .y_name = y_name};
  for (const Result& r : rows) {
    example::LineChart::Series test{r.name, {}}, train{r.name + ", training", {}, true};
    for (std::size_t i = 1; i < r.test.size(); ++i) {
      const double x = 100 * static_cast<double>(i) / hierarchical::points_of_curve;
      test.points.push_back({x, r.test[i].loss});
      train.points.push_back({x, r.train[i].loss});
    }
    chart.series.push_back(test);
    chart.series.push_back(train);
  }
  chart.draw().save(path);
}

void print_conclusion(const Comparison& sparse, const Comparison& dense) {
  const auto right = [](const Result& r) { return fixed(100 * r.test.back().right, 1); };
  const auto loss = [](const Result& r) { return r.test.back().loss; };
  const Result &flat = sparse[hierarchical::flat_row], &tree = sparse[hierarchical::tree_row];
  const double less = loss(dense[hierarchical::tree_row]) - loss(dense[hierarchical::flat_row]);
  std::cout << "\n2017: with " << fixed(tree.router_products) << " multiply-adds of routers a token instead of "
            << fixed(flat.router_products) << " the tree has " << right(tree) << " % of the test right, the flat layer "
            << right(flat) << ", a linear map " << right(sparse[hierarchical::linear_row])
            << ".\nWith experts as few and small as these a step of the tree takes "
            << fixed(tree.milliseconds / flat.milliseconds, 1)
            << " times as long all the same; the paper's trees have up to\n131072 experts, where a flat gate would "
               "cost far more than here.\n1994: the tree's likelihood is "
            << (less < 0 ? "above" : "below") << " the flat mixture's by " << fixed(std::abs(less), 3)
            << " nats a vowel; the flat one gains "
            << fixed(loss(dense[hierarchical::linear_row]) - loss(dense[hierarchical::flat_row]), 2)
            << " over a linear map.\nThe dense tree has the larger routers. Both are trained by gradients, not by EM, "
               "whose speed is the paper's main claim:\nit is not tested here.\n";
}

/// The claims, in kind.
bool hold(const Comparison& sparse, const Comparison& dense) {
  const auto check = [](std::string_view failure, bool holds) {
    if (!holds) std::cerr << "hierarchical: " << failure << '\n';
    return holds;
  };
  const auto right = [](const Result& r) { return r.test.back().right; };
  const auto loss = [](const Result& r) { return r.test.back().loss; };
  bool good = true;
  for (const Row row : {hierarchical::flat_row, hierarchical::tree_row}) {
    good &= check("a sparse mixture's test loss is not below 3 / 4 of the linear map's",
                  loss(sparse[row]) < 0.75 * loss(sparse[hierarchical::linear_row]));
    good &= check("a dense mixture is not 10 points better than a linear map",
                  right(dense[row]) > right(dense[hierarchical::linear_row]) + 0.1);
  }
  good &= check("the sparse tree is more than 3 points below the flat layer",
                right(sparse[hierarchical::tree_row]) > right(sparse[hierarchical::flat_row]) - 0.03);
  good &= check("the dense tree's likelihood is more than 0.5 below the flat mixture's",
                loss(dense[hierarchical::tree_row]) < loss(dense[hierarchical::flat_row]) + 0.5);
  good &= check("the tree's routers do not take fewer multiply-adds",
                sparse[hierarchical::tree_row].router_products < sparse[hierarchical::flat_row].router_products);
  good &= check("a group is not in use", sparse[hierarchical::tree_row].spread.fewest_of_group > 0);
  return good & check("the tokens are not spread evenly", sparse[hierarchical::tree_row].spread.groups < 0.3 &&
                                                              sparse[hierarchical::tree_row].spread.experts < 0.5);
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"Layers of layers against flat ones: Shazeer et al. (2017), Jordan and Jacobs (1994)"};
  example::Budget budget{.steps = 800};
  Index run_count = 5;
  Shape shape;
  budget.add_to(app);
  app.add_option("--runs", run_count, "averaged over so many")->capture_default_str()->check(CLI::Range(1, 1000));
  app.add_option("--groups", shape.groups, "groups of experts")->capture_default_str()->check(CLI::Range(2, 64));
  app.add_option("--experts", shape.experts, "experts of a group")->capture_default_str()->check(CLI::Range(2, 64));
  app.add_option("--k", shape.k, "groups of a token, and experts in each")
      ->capture_default_str()
      ->check(CLI::Range(2, 64));
  CLI11_PARSE(app, argc, argv);
  if (budget.quick) budget.steps = 500, run_count = 2;

  std::vector<Comparison> sparse_runs, dense_runs;
  {
    example::Progress progress("runs", static_cast<std::size_t>(run_count));
    const double seconds = budget.seconds / static_cast<double>(run_count * hierarchical::trainings);
    for (Index i = 0; i < run_count; ++i) {
      const auto seed = budget.seed + static_cast<std::uint64_t>(i);
      sparse_runs.push_back(hierarchical::compare_sparse(shape, {budget.steps, seconds, 3e-2, 0.3}, seed));
      dense_runs.push_back(hierarchical::compare_dense(shape, {budget.steps, seconds, 3e-2, 0}, seed));
      progress.advance();
    }
  }
  const Comparison sparse = hierarchical::average(sparse_runs), dense = hierarchical::average(dense_runs);
  example::Table table({"", "experts", "active", "parameters", "router products", "train loss", "test loss", "right, %",
                        "CV of groups", "of experts", "ms a step"});
  add_rows(table, "digits", sparse, false);
  add_rows(table, "vowels", dense, true);
  std::cout << "Averages of " << run_count << " runs; the loss is the cross-entropy of a digit, -log likelihood of a "
            << "vowel without its constant\n\n"
            << table;
  print_conclusion(sparse, dense);
  table.save_csv(budget.file("hierarchical.csv"));
  draw(sparse, "Digits: a flat layer and a layer of layers", "cross-entropy", budget.file("hierarchical.svg"));
  draw(dense, "Vowels: a flat mixture and a mixture of mixtures", "-log likelihood",
       budget.file("hierarchical_dense.svg"));
  std::cout << "\nWritten: hierarchical.csv, hierarchical.svg, hierarchical_dense.svg\n";
  return hold(sparse, dense) ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "hierarchical: " << error.what() << '\n';
  return EXIT_FAILURE;
}
