// Implementations of one layer against each other: first their results, then their times, in turns.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../support/rounds.hpp"
#include "peer.hpp"

namespace bench {

enum class Pass { forward, train };

/// What one implementation did.
struct Outcome {
  std::string name, way;
  double error;                 ///< Of its results against those of the first implementation.
  std::vector<double> seconds;  ///< Of each round.
};

class Comparison {
 public:
  Comparison(const Problem& problem, Pass pass) : problem_(problem), pass_(pass), out_TD_(problem.x_TD) {}

  /// The first implementation is the one that the others must agree with. Throws std::runtime_error where one does not.
  std::vector<Outcome> run(const std::vector<Implementation>& implementations, int rounds) {
    for (const Implementation& implementation : implementations) enter(implementation);
    std::vector<std::function<void()>> passes;
    for (const Entry& entry : entries_) passes.push_back([this, &entry] { run(*entry.peer); });
    const std::vector<std::vector<double>> seconds = take_turns(passes, rounds);
    std::vector<Outcome> outcomes;
    for (std::size_t i = 0; i < entries_.size(); ++i)
      outcomes.push_back({entries_[i].name, entries_[i].way, entries_[i].error, seconds[i]});
    return outcomes;
  }

  /// Of ||a - b|| / ||b||. The router's gradient is a difference of sums that are nearly equal. A ReLU that sees 1e-8
  /// in one order of summation and -1e-8 in another has another derivative, which is the difference of a whole entry.
  double allowed_error() const {
    if (pass_ == Pass::forward) return 1e-5;
    return problem_.activation == Activation::relu ? 1e-2 : 1e-4;
  }

 private:
  struct Entry {
    std::string name, way;
    std::unique_ptr<Peer> peer;
    double error;
  };

  void run(Peer& peer) {
    if (pass_ == Pass::forward)
      peer.forward(out_TD_);
    else
      peer.train(out_TD_);
  }

  /// Checks each way of the implementation and keeps the fastest. There is memory for one at a time.
  void enter(const Implementation& implementation) {
    const auto& ways = pass_ == Pass::forward ? implementation.forward_ways : implementation.training_ways;
    if (ways.empty()) return;
    Entry entry{implementation.name, "", nullptr, 0};
    double shortest = 0;
    std::size_t fastest = 0;
    for (std::size_t i = 0; i < ways.size(); ++i) {
      entry.peer = nullptr;
      entry.peer = ways[i].make(problem_, pass_ == Pass::train);
      entry.error = (std::max)(entry.error, checked_error(implementation.name + ", " + ways[i].name, *entry.peer));
      if (ways.size() == 1) break;
      const double seconds = best(take_turns({[&] { run(*entry.peer); }}, 3)[0]);
      if (i == 0 || seconds < shortest) {
        shortest = seconds;
        fastest = i;
      }
    }
    if (fastest + 1 < ways.size()) {
      entry.peer = nullptr;
      entry.peer = ways[fastest].make(problem_, pass_ == Pass::train);
    }
    entry.way = ways[fastest].name;
    entries_.push_back(std::move(entry));
  }

  double checked_error(const std::string& name, Peer& peer) {
    out_TD_.setConstant(std::numeric_limits<float>::quiet_NaN());
    run(peer);
    if (entries_.empty()) {
      expected_TD_ = out_TD_;
      return 0;
    }
    double error = relative((out_TD_ - expected_TD_).squaredNorm(), expected_TD_.squaredNorm());
    if (pass_ == Pass::train)
      for (const Part part : {Part::router, Part::w1, Part::w3, Part::w2})
        if (part != Part::w3 || problem_.gated()) error = (std::max)(error, gradient_error(part, peer));
    if (!(error <= allowed_error()))
      throw std::runtime_error(name + " differs by " + std::to_string(error) + " from the first implementation");
    return error;
  }

  double gradient_error(Part part, Peer& peer) {
    double difference = 0, size = 0;
    for (Index e = 0; e < (part == Part::router ? 1 : problem_.shape.experts); ++e) {
      const Rows expected = entries_.front().peer->gradient(part, e);
      const Rows actual = peer.gradient(part, e);
      difference += actual.rows() == 0 ? expected.squaredNorm() : (actual - expected).squaredNorm();
      size += expected.squaredNorm();
    }
    return relative(difference, size);
  }

  static double relative(double difference, double size) { return std::sqrt(difference / size); }

  const Problem& problem_;
  const Pass pass_;
  std::vector<Entry> entries_;
  Rows out_TD_, expected_TD_;
};

}  // namespace bench
