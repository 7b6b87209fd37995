// One run: a teacher is trained, cut into experts in several ways, and each of the students is distilled.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../support/digits.hpp"
#include "moe/moe.hpp"
#include "network.hpp"
#include "training.hpp"

namespace moebert {

inline constexpr Index width = 64, hidden = 512, experts = 4;
inline constexpr Index expert_hidden = hidden / experts, shared_units = 2 * expert_hidden / 3;  // as in the paper
inline constexpr std::array<double, 4> decays{2, 0.01, 1, 5};  ///< Of teachers; the first one has students.
inline constexpr int draws = 5;                                ///< Of splits and of hashes, averaged over.

/// A student needs less time than its teacher.
inline Index distillation_steps(Index teacher_steps) { return teacher_steps / 2 + 1; }

inline constexpr std::size_t students = 5;

/// The rows of the table.
enum Row : std::size_t { dense, pruned, at_random, by_importance, by_pattern, by_gate };

struct Result {
  std::string name;
  double active_parameters;  ///< Of an image.
  Index parameters;
  Curve curve;
  double time;  ///< Microseconds an image.
};

/// Shares of right answers of a teacher, and of what it is cut into, before distillation.
struct Cut {
  double teacher, at_random, by_importance;
};

struct Run {
  std::vector<Result> results;
  std::vector<Cut> cuts;  ///< One for each of the first of `decays`.
};

/// Which of eight cells of 4 x 2 pixels are darker than the whole picture, as a number below 256.
inline std::int64_t pattern_of(const Matrix& x_TD, Index t) {
  const Eigen::Map<const Matrix> picture(x_TD.row(t).data(), 8, 8);
  std::int64_t bits = 0;
  for (Index row = 0; row < 8; row += 2)
    for (Index column = 0; column < 8; column += 4)
      bits = 2 * bits + (picture.block(row, column, 2, 4).mean() > picture.mean() ? 1 : 0);
  return bits;
}

struct Data {
  Images train, test;
  Index ids;  ///< More than any.
};

/// Every picture of the collection has a number of its own.
inline Data numbered(const example::DigitsData& digits) {
  Data data{{digits.train.x_TD, digits.train.labels, {}}, {digits.test.x_TD, digits.test.labels, {}}, 0};
  for (Images* images : {&data.train, &data.test})
    for (Index t = 0; t < images->count(); ++t) images->id.push_back(data.ids++);
  return data;
}

inline Data patterned(Data data) {
  for (Images* images : {&data.train, &data.test})
    for (Index t = 0; t < images->count(); ++t) images->id[static_cast<std::size_t>(t)] = pattern_of(images->x_TD, t);
  data.ids = 256;
  return data;
}

/// Parameters that work on an image, in the mean over `images`.
template <class Ffn>
double active_parameters(const Network<Ffn>& network, const Images& images) {
  const auto around = static_cast<double>(moe::parameter_count(network.embedding) + moe::parameter_count(network.head));
  if constexpr (IsMixture<Ffn>) {
    typename Network<Ffn>::Tape tape;
    network.forward(images.batch(), tape);
    return around + moe::cost_of(network.ffn, tape.ffn).active_parameters();
  } else {
    return around + static_cast<double>(moe::parameter_count(network.ffn));
  }
}

/// The teacher with another feed-forward part.
template <class Ffn>
Network<Ffn> with(const Network<Dense>& teacher, Ffn ffn) {
  return {teacher.embedding, std::move(ffn), teacher.head};
}

inline std::vector<Dense> cut(const Network<Dense>& teacher, const std::vector<Index>& order) {
  return moe::split_network(teacher.ffn, moe::split_by_importance(order, experts, shared_units, expert_hidden));
}

inline Network<HashMixture> hashed(const Network<Dense>& teacher, const std::vector<Index>& order, Index ids,
                                   moe::Random& random) {
  return with(teacher,
              HashMixture{moe::NoRouter<float>{experts}, moe::Hash::random(ids, experts, random), cut(teacher, order)});
}

/// The weight of the one expert is its probability, as in the paper's program: at the start it shrinks the output.
inline Network<GateMixture> gated(const Network<Dense>& teacher, const std::vector<Index>& order, moe::Random& random) {
  return with(teacher, GateMixture{moe::Router<float>::random(experts, width, random), moe::switch_top1(),
                                   cut(teacher, order), moe::LoadBalanceLoss{.coefficient = 1e-2}});
}

/// The hidden units in any order.
inline std::vector<Index> random_order(moe::Random& random) {
  return moe::order_by_importance<float>(
      Vector::NullaryExpr(hidden, [&] { return static_cast<float>(random.uniform()); }));
}

/// Trains and measures, with the same budget for each.
struct Bench {
  const Index steps;
  const double seconds;
  moe::Random& random;

  Network<Dense> teach(const Data& data, double decay, Curve& curve) {
    Network<Dense> network = random_network(data.train.x_TD.cols(), width, hidden, 10, random);
    curve = train(network, data.train, data.test, {steps, seconds, 4e-3, decay}, random, label_slope);
    return network;
  }

  template <class Ffn>
  Result distill(std::string name, Network<Ffn> student, const Network<Dense>& teacher, const Data& data) {
    Curve curve = train(student, data.train, data.test, {distillation_steps(steps), seconds, 1.5e-3, 1e-2}, random,
                        distillation_from(teacher));
    return measured(std::move(name), student, std::move(curve), data);
  }

  template <class Ffn>
  static Result measured(std::string name, const Network<Ffn>& network, Curve curve, const Data& data) {
    return {std::move(name), active_parameters(network, data.test), moe::parameter_count(network), std::move(curve),
            microseconds_per_image(network, data.test, 51)};
  }
};

inline std::vector<Result> all_students(Bench& bench, const Network<Dense>& teacher, const std::vector<Index>& order,
                                        const Data& data) {
  const Data patterns = patterned(data);
  const std::vector<Index> best(order.begin(), order.begin() + expert_hidden);
  std::vector<Result> results;
  const auto add = [&](std::string name, const auto& student, const Data& of) {
    results.push_back(bench.distill(std::move(name), student, teacher, of));
  };
  add("most important units only", with(teacher, moe::select_units(teacher.ffn, best)), data);
  add("random split, hash of the number", hashed(teacher, random_order(bench.random), data.ids, bench.random), data);
  add("by importance, hash of the number", hashed(teacher, order, data.ids, bench.random), data);
  add("by importance, hash of the pattern", hashed(teacher, order, patterns.ids, bench.random), patterns);
  add("by importance, learned gate", gated(teacher, order, bench.random), data);
  return results;
}

inline Run run(Index steps, double seconds, std::size_t teachers, std::uint64_t seed) {
  const Data data = numbered(example::read_digits(MOE_EXAMPLE_DATA "/digits8x8.csv", seed));
  moe::Random random(seed);
  Bench bench{steps, seconds, random};
  Run run;
  for (std::size_t i = 0; i < teachers; ++i) {
    Curve curve;
    const Network<Dense> teacher = bench.teach(data, decays[i], curve);
    const auto order = moe::order_by_importance(importance_of_units(teacher, data.train));
    Cut cut{curve.back(), 0, 0};
    for (Index draw = 0; draw < draws; ++draw) {
      cut.at_random += accuracy(hashed(teacher, random_order(random), data.ids, random), data.test) / draws;
      cut.by_importance += accuracy(hashed(teacher, order, data.ids, random), data.test) / draws;
    }
    run.cuts.push_back(cut);
    if (i > 0) continue;
    run.results = all_students(bench, teacher, order, data);
    run.results.insert(run.results.begin(), Bench::measured("dense", teacher, curve, data));
  }
  return run;
}

}  // namespace moebert
