// Balance without an auxiliary loss, a step size or a sign: the selection bias with which each expert would have got
// its share of the last step's tokens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// How a quantile is read off N numbers in order, 0 .. N - 1.
enum class Quantile {
  interpolated,  ///< At (N - 1) k / E, between its neighbours (Kimi K3).
  order,         ///< Number floor(N k / E), without interpolation (Megatron-Core).
};

struct QuantileBalanceOptions {
  Quantile quantile = Quantile::interpolated;
  Index bins = 0;          ///< Not 0: by a histogram of so many equal bins, interpolated in its bin (Kimi K3: 1000).
  bool per_batch = false;  ///< The mean of the batches' quantiles, not that of all their numbers (Megatron-Core).
  double average = 0;      ///< b <- average * old + (1 - average) * new, in [0, 1).
};

/// A token t would choose expert e if its bias were more than r(t, e) = a_t - key(t, e), where key is what the gate
/// adds the bias to (scores, or logits: ScoredTopK::bias_on), and a_t the (k + 1)-th largest of key + bias. The new
/// bias of an expert is the k / E quantile of its r, and the mean of all biases is taken off (Kimi K3, technical
/// report, section 2.3.3; Megatron-Core, quantile balancing).
///
///     moe::QuantileBalance balance;
///     balance.add(layer.gate, tape.routing);   // after each forward pass that trains
///     balance.update(layer.gate);                // once a step
///
/// Without bins it keeps a number for each token and expert until the update. Padding does not count. Of a pass that
/// evaluates, or is computed again, nothing is to be added.
class QuantileBalance {
 public:
  explicit QuantileBalance(QuantileBalanceOptions options = {}) : options_(options) {
    require(options.bins >= 0 && (options.bins == 0 || !options.per_batch), "QuantileBalance: ", options.bins,
            " bins, there must be 0 or more, and none for quantiles of each batch");
    require(options.average >= 0 && options.average < 1, "QuantileBalance: average is ", options.average,
            ", it must be in [0, 1)");
  }

  /// Takes in a routing that this gate, with the bias that it has, decided. Throws std::invalid_argument, and takes in
  /// nothing, unless there are more experts than k, all groups are used, no noise was drawn, the numbers are finite,
  /// for a histogram the scores are in [0, 1], and gate and bias are those of the batches before it.
  template <class S>
  void add(const ScoredTopK& gate, const Routing<S>& routing) {
    check(gate, routing);
    const Index experts = routing.experts();
    const Matrix<S>& key_TE = gate.bias_on == ScoredTopK::BiasOn::logits ? routing.logits_TE : routing.scores_TE;
    const Vector<double> bias_E = bias_of(gate, experts);
    std::vector<std::vector<double>> needed(static_cast<std::size_t>(experts));
    Vector<double> biased_E(experts);
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      for (Index e = 0; e < experts; ++e) {
        const auto key = static_cast<double>(key_TE(t, e));
        require(detail::has_finite_bits(key), "QuantileBalance: token ", t, " and expert ", e, " have the number ",
                key);
        biased_E[e] = key + bias_E[e];
      }
      std::nth_element(biased_E.data(), biased_E.data() + gate.k, biased_E.data() + experts, std::greater<double>());
      for (Index e = 0; e < experts; ++e)
        needed[static_cast<std::size_t>(e)].push_back(biased_E[gate.k] - static_cast<double>(key_TE(t, e)));
    }
    take_in(needed, gate, bias_E);
  }

  /// Tokens that were added since the last update.
  Index tokens() const { return tokens_; }

  /// Sets the gate's bias, and begins anew. Without a token, the bias stays as it is. Throws std::invalid_argument if
  /// the gate or its bias are not those of the batches.
  void update(ScoredTopK& gate) {
    if (tokens_ == 0) return;
    check_same(gate, bias_E_.size());
    Vector<double> bias_E(bias_E_.size());
    for (Index e = 0; e < bias_E.size(); ++e) {
      const auto row = static_cast<std::size_t>(e);
      const double balanced = options_.per_batch  ? sums_E_[e] / static_cast<double>(batches_)
                              : options_.bins > 0 ? quantile_of_bins(e)
                                                  : quantile_of(needed_[row]);
      bias_E[e] = options_.average * bias_E_[e] + (1 - options_.average) * balanced;
    }
    const double mean = bias_E.mean();
    for (double& entry : bias_E) entry -= mean;
    *this = QuantileBalance(options_);
    gate.selection_bias_E = std::move(bias_E);
  }

 private:
  static Vector<double> bias_of(const ScoredTopK& gate, Index experts) {
    return gate.selection_bias_E.size() > 0 ? gate.selection_bias_E : Vector<double>::Zero(experts);
  }

  template <class S>
  void check(const ScoredTopK& gate, const Routing<S>& routing) const {
    const Index experts = routing.experts();
    const bool of_logits = gate.bias_on == ScoredTopK::BiasOn::logits;
    routing.check();
    gate.check(experts);
    require(gate.k < experts, "QuantileBalance: k = ", gate.k, " of ", experts,
            " experts, none is left to compare with");
    require(gate.groups_used == gate.groups && !gate.from_each_group,
            "QuantileBalance: the gate chooses by groups, for ", "which no bias is known that balances");
    require(!routing.noise.drawn, "QuantileBalance: the routing has noise");
    require(options_.bins == 0 || (!of_logits && gate.scores.function() != detail::ScoreFunction::sqrt_softplus),
            "QuantileBalance: a histogram needs scores in [0, 1]");
    if (!of_logits) require_shape("QuantileBalance: the scores", routing.scores_TE, routing.tokens(), experts);
    for (const double bias : gate.selection_bias_E)
      require(detail::has_finite_bits(bias), "QuantileBalance: the gate has a bias of ", bias);
    if (tokens_ > 0) check_same(gate, experts);
  }

  void check_same(const ScoredTopK& gate, Index experts) const {
    const Vector<double> bias_E = bias_of(gate, experts);
    require(gate.k == gate_.k && gate.bias_on == gate_.bias_on && gate.scores == gate_.scores &&
                bias_E.size() == bias_E_.size() && bias_E == bias_E_,
            "QuantileBalance: the gate or its bias changed since batches were added; update first");
  }

  /// N numbers of each expert.
  void take_in(std::vector<std::vector<double>>& needed, const ScoredTopK& gate, const Vector<double>& bias_E) {
    const auto added = static_cast<Index>(needed[0].size());
    if (added == 0) return;
    if (tokens_ == 0) {
      gate_ = gate;
      bias_E_ = bias_E;
      sums_E_ = Vector<double>::Zero(bias_E.size());
      counts_.assign(static_cast<std::size_t>(bias_E.size() * options_.bins), 0);
      needed_.resize(needed.size());
    }
    if (options_.bins == 0 && !options_.per_batch)
      for (std::vector<double>& all : needed_)  // before anything is taken in
        if (all.capacity() < all.size() + needed[0].size())
          all.reserve((std::max)(all.size() + needed[0].size(), 2 * all.capacity()));
    tokens_ += added;
    ++batches_;
    for (Index e = 0; e < bias_E.size(); ++e) {
      std::vector<double>& numbers = needed[static_cast<std::size_t>(e)];
      if (options_.per_batch) {
        sums_E_[e] += quantile_of(numbers);
      } else if (options_.bins > 0) {
        for (const double number : numbers) ++counts_[static_cast<std::size_t>(e * options_.bins + bin_of(number))];
      } else {
        std::vector<double>& all = needed_[static_cast<std::size_t>(e)];
        all.insert(all.end(), numbers.begin(), numbers.end());
      }
    }
  }

  /// Of N numbers, in any order; theirs changes.
  double quantile_of(std::vector<double>& numbers) const {
    const auto size = static_cast<double>(numbers.size()), experts = static_cast<double>(bias_E_.size());
    const bool between = options_.quantile == Quantile::interpolated;
    const double position = (between ? size - 1 : size) * static_cast<double>(gate_.k) / experts;
    const auto below = static_cast<std::ptrdiff_t>(position);
    std::nth_element(numbers.begin(), numbers.begin() + below, numbers.end());
    const double low = numbers[static_cast<std::size_t>(below)], rest = position - static_cast<double>(below);
    if (!between || rest == 0) return low;
    return low + rest * (*std::min_element(numbers.begin() + below + 1, numbers.end()) - low);
  }

  // Bins from min b - 1 to max b + 1: with scores in [0, 1], r is within 1 of the bias of an expert.
  double lowest() const { return bias_E_.minCoeff() - 1; }
  double width_of_bin() const { return (bias_E_.maxCoeff() + 1 - lowest()) / static_cast<double>(options_.bins); }
  Index bin_of(double number) const {
    const auto bin = static_cast<Index>((number - lowest()) / width_of_bin());
    return (std::min)((std::max)(bin, Index{0}), options_.bins - 1);
  }
  double quantile_of_bins(Index e) const {
    const double wanted =
        static_cast<double>(tokens_) * static_cast<double>(gate_.k) / static_cast<double>(bias_E_.size());
    double before = 0;
    for (Index bin = 0;; ++bin) {
      const auto count = static_cast<double>(counts_[static_cast<std::size_t>(e * options_.bins + bin)]);
      if (before + count >= wanted || bin == options_.bins - 1)
        return lowest() + width_of_bin() * (static_cast<double>(bin) + (count > 0 ? (wanted - before) / count : 0));
      before += count;
    }
  }

  QuantileBalanceOptions options_;
  ScoredTopK gate_;  // of the batches
  Index tokens_ = 0, batches_ = 0;
  Vector<double> bias_E_, sums_E_;           // the bias of the batches; sums of their quantiles
  std::vector<std::int64_t> counts_;         // (E, bins)
  std::vector<std::vector<double>> needed_;  // r of each expert
};

MOE_NAMESPACE_END
