// Implementations of one layer against each other: first their results, then their times, in turns.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../support/machine.hpp"
#include "../support/rounds.hpp"
#include "peer.hpp"

namespace bench {

/// What one implementation did.
struct Outcome {
  std::string name, way;
  double error;                 ///< Of its results against those of the first implementation.
  double gbytes;                ///< Of memory at most, beyond the problem's.
  std::vector<double> seconds;  ///< Of each round.
};

class Comparison {
 public:
  Comparison(Problem& problem, Pass pass) : problem_(problem), pass_(pass), out_TD_(problem.x_TD) {}

  /// The first implementation is the one that the others must agree with. Throws std::runtime_error where one does not.
  std::vector<Outcome> run(const std::vector<Implementation>& implementations, int rounds) {
    for (const Implementation& implementation : implementations) enter(implementation);
    std::vector<std::function<void()>> passes;
    for (const Entry& entry : entries_) passes.push_back([this, &entry] { entry.peer->run(pass_, out_TD_); });
    const std::vector<std::vector<double>> seconds = take_turns(passes, rounds);
    std::vector<Outcome> outcomes;
    for (std::size_t i = 0; i < entries_.size(); ++i)
      outcomes.push_back({entries_[i].name, entries_[i].way, entries_[i].error, entries_[i].gbytes, seconds[i]});
    return outcomes;
  }

  /// Of ||a - b|| / ||b||. The router's gradient is a difference of sums that are nearly equal. A ReLU that sees 1e-8
  /// in one order of summation and -1e-8 in another has another derivative, which is the difference of a whole entry.
  /// What a step adds to a weight of 1 has been rounded by up to 1e-7, a thousandth of it.
  double allowed_error() const {
    if (pass_ == Pass::forward) return 1e-5;
    return pass_ == Pass::step || problem_.activation == Activation::relu ? 1e-2 : 1e-4;
  }

 private:
  struct Entry {
    std::string name, way;
    std::unique_ptr<Peer> peer;
    double error, gbytes;
  };

  /// Checks each way of the implementation and keeps the fastest. There is memory for one at a time.
  void enter(const Implementation& implementation) {
    const std::vector<Way>& ways = implementation.ways(pass_);
    if (ways.empty()) return;
    Entry entry{implementation.name, "", nullptr, 0, 0};
    PeakMemory memory;
    double shortest = 0;
    std::size_t fastest = 0;
    for (std::size_t i = 0; i < ways.size(); ++i) {
      make(entry, ways[i]);
      memory.restart();
      entry.error = (std::max)(entry.error, checked_error(implementation.name + ", " + ways[i].name, *entry.peer));
      const double seconds = ways.size() == 1 ? 0 : best(take_turns({[&] { entry.peer->run(pass_, out_TD_); }}, 3)[0]);
      if (i > 0 && seconds >= shortest) continue;
      shortest = seconds;
      fastest = i;
      entry.gbytes = memory.gbytes();
    }
    if (fastest + 1 < ways.size()) make(entry, ways[fastest]);
    entry.way = ways[fastest].name;
    entries_.push_back(std::move(entry));
  }

  void make(Entry& entry, const Way& way) {
    entry.peer = nullptr;
    if (pass_ == Pass::step) problem_.draw_weights();
    entry.peer = way.make(problem_, pass_);
  }

  double checked_error(const std::string& name, Peer& peer) {
    out_TD_.setConstant(std::numeric_limits<float>::quiet_NaN());
    peer.run(pass_, out_TD_);
    if (entries_.empty()) {
      expected_TD_ = out_TD_;
      for (const Part part : parts()) squares_[part] = difference(part, nullptr, &peer);
      return 0;
    }
    double error = std::sqrt((out_TD_ - expected_TD_).squaredNorm() / expected_TD_.squaredNorm());
    for (const Part part : parts())
      error = (std::max)(error, std::sqrt(difference(part, entries_.front().peer.get(), &peer) / squares_[part]));
    if (!(error <= allowed_error()))
      throw std::runtime_error(name + " differs by " + std::to_string(error) + " from the first implementation");
    return error;
  }

  /// That the pass computes besides its output.
  std::vector<Part> parts() const {
    if (pass_ == Pass::forward) return {};
    if (problem_.gated()) return {Part::router, Part::w1, Part::w3, Part::w2};
    return {Part::router, Part::w1, Part::w2};
  }

  /// The square of the norm of what the pass made of a parameter in b, less that in a; without a, less what there was.
  double difference(Part part, Peer* a, Peer* b) const {
    double squares = 0;
    for (Index e = 0; e < (part == Part::router ? 1 : problem_.shape.experts); ++e) {
      const Rows of_a = part_of(a, part, e), of_b = part_of(b, part, e);
      squares += of_a.rows() == 0   ? of_b.squaredNorm()
                 : of_b.rows() == 0 ? of_a.squaredNorm()
                                    : (of_b - of_a).squaredNorm();
    }
    return squares;
  }
  Rows part_of(Peer* peer, Part part, Index e) const {
    if (pass_ == Pass::step) return peer != nullptr ? peer->weight(part, e) : problem_.weight(part, e);
    return peer != nullptr ? peer->gradient(part, e) : Rows();
  }

  Problem& problem_;
  const Pass pass_;
  std::vector<Entry> entries_;
  Rows out_TD_, expected_TD_;
  std::map<Part, double> squares_;  ///< Of the norms of what the first implementation computed besides its output.
};

}  // namespace bench
