// The auxiliary losses, as loops over what the reference layer decided.
#pragma once

#include <cmath>
#include <numbers>
#include <tuple>

#include "support/reference_parts.hpp"

namespace reference {

inline double squared_variation(const Row& values, moe::Variance variance, double epsilon) {
  const auto count = static_cast<double>(values.size());
  const double mean = sum(values) / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  if (values.size() == 1 || mean * mean + epsilon == 0) return 0;
  return squares / (variance == moe::Variance::population ? count : count - 1) / (mean * mean + epsilon);
}

inline double loss(const moe::ImportanceLoss& setting, const Decision& d) {
  Row importance(at(d.experts), 0.0);
  if (setting.source == moe::ImportanceLoss::Source::weights) {
    for (const Choice& c : d.choices) importance[at(c.expert)] += c.weight;
  } else {
    for (const Index t : d.tokens)
      for (Index e = 0; e < d.experts; ++e) importance[at(e)] += softmax(d.logits[at(t)])[at(e)];
  }
  return squared_variation(importance, setting.variance, setting.epsilon);
}

/// The probability that e is among the k chosen when its own noise is drawn again.
inline double chance(const moe::LoadLoss& setting, const Decision& d, Index t, Index e) {
  Row rivals = d.selection[at(t)];
  if (setting.threshold == moe::LoadLoss::Threshold::excluding_itself) rivals.erase(rivals.begin() + e);
  const double threshold = rivals[at(ranking(rivals)[at(d.k - 1)])];
  const double margin = (d.logits[at(t)][at(e)] - threshold) / d.stddev[at(t)][at(e)];
  return (1 + std::erf(margin / std::numbers::sqrt2)) / 2;
}

inline double loss(const moe::LoadLoss& setting, const Decision& d) {
  Row load(at(d.experts), 0.0);
  if (d.noisy && d.k < d.experts) {
    for (const Index t : d.tokens)
      for (Index e = 0; e < d.experts; ++e) load[at(e)] += chance(setting, d, t, e);
  } else {
    for (const Choice& c : d.choices) load[at(c.expert)] += 1;
  }
  return squared_variation(load, setting.variance, setting.epsilon);
}

inline double loss(const moe::LoadBalanceLoss& setting, const Decision& d) {
  using Count = moe::LoadBalanceLoss::Count;
  if (d.tokens.empty()) return 0;
  const auto tokens = static_cast<double>(d.tokens.size());
  double total = 0;
  for (Index e = 0; e < d.experts; ++e) {
    double count = 0, probability = 0;
    for (const Choice& c : d.choices)
      if (c.expert == e && (setting.count != Count::first_choices || c.rank == 0)) ++count;
    for (const Index t : d.tokens) probability += d.probabilities[at(t)][at(e)];
    const double of = setting.count == Count::all_choices_share ? static_cast<double>(d.choices.size()) : tokens;
    total += count / of * probability / tokens;
  }
  return static_cast<double>(d.experts) * total;
}

inline double loss(const moe::RouterZLoss&, const Decision& d) {
  double total = 0;
  for (const Index t : d.tokens) {
    double exps = 0;
    for (const double z : d.logits[at(t)]) exps += std::exp(z);
    total += std::log(exps) * std::log(exps);
  }
  return d.tokens.empty() ? 0 : total / static_cast<double>(d.tokens.size());
}

/// The value of each, without its coefficient.
template <class... L>
Row loss_values(const moe::Losses<L...>& losses, const Decision& d) {
  return std::apply([&](const L&... one) { return Row{loss(one, d)...}; }, losses.all);
}

/// The sum of coefficient * value.
template <class... L>
double auxiliary_loss(const moe::Losses<L...>& losses, const Decision& d) {
  return std::apply([&](const L&... one) { return (0.0 + ... + (one.coefficient * loss(one, d))); }, losses.all);
}

}  // namespace reference
