// What a pass of a layer must be, given the choices on its tape: loops over tokens, choices and numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include "fuzz/any_layer.hpp"
#include "support/reference_parts.hpp"

namespace fuzz {

/// Every choice names a token that is none of padding and an expert, no pair twice but with Hash; where it is sent is
/// first come, first served.
inline void check_choices(const AnyLayer& layer, const moe::Batch<S>& batch, const AnyLayer::Tape& tape,
                          bool training) {
  const moe::Routing<S>& routing = tape.routing;
  const auto group_of = [&](Index t) { return batch.group_size > 0 ? t / batch.group_size : 0; };
  std::map<Index, Index> tokens, choices;
  std::set<std::pair<Index, Index>> pairs;
  for (Index t = 0; t < batch.tokens(); ++t) {
    expect(!routing.is_valid(t) || batch.is_valid(t), "padding became a token");
    tokens[group_of(t)] += routing.is_valid(t) ? 1 : 0;
  }
  for (const auto& c : routing.choices) {
    expect(c.token >= 0 && c.token < batch.tokens() && c.expert >= 0 && c.expert < routing.experts(),
           "a choice is out of range");
    expect(routing.is_valid(c.token), "padding was routed");
    pairs.emplace(c.token, c.expert);
    ++choices[group_of(c.token)];
  }
  expect(pairs.size() == routing.choices.size() || std::holds_alternative<moe::Hash>(layer.gate.gate),
         "a token chose an expert twice");
  std::map<std::pair<Index, Index>, Index> taken;
  Index dropped = 0, sent = 0;
  for (const auto& c : routing.choices) {
    if (c.fate == moe::Fate::unsent) continue;
    const Index group = group_of(c.token);
    const Index room = layer.dispatching.capacity.slots(tokens[group], choices[group], routing.experts(), training);
    const bool fits = taken[{group, c.expert}] < room;
    expect(fits == (c.fate == moe::Fate::sent), "a choice found room where there was none, or none where there was");
    if (fits) ++taken[{group, c.expert}];
    (fits ? sent : dropped) += 1;
  }
  expect(sent == tape.plan.slots() && dropped == static_cast<Index>(tape.plan.dropped_choices.size()),
         "slots and dropped choices are not as many as the choices say");
}

/// One row through an expert.
inline reference::Row output_of(const AnyExpert& expert, const reference::Row& x) {
  return expert.visit([&](const auto& own, auto) -> reference::Row {
    using X = std::remove_cvref_t<decltype(own)>;
    if constexpr (std::is_same_v<X, moe::Linear<S>> || std::is_same_v<X, moe::SwiGlu<S>> ||
                  std::is_same_v<X, moe::Mlp<S, moe::Gelu>>) {
      return reference::output(own, x);
    } else {
      Matrix<S> in(1, static_cast<Index>(x.size())), out(1, moe::detail::output_width(own, in.cols()));
      for (Index d = 0; d < in.cols(); ++d) in(0, d) = x[static_cast<std::size_t>(d)];
      typename X::Tape tape;
      own.forward(in, out, tape);
      return reference::row_of(out, 0);
    }
  });
}

/// The weight of every choice: after dropping, and 0 where nothing is sent.
inline std::vector<double> weights_of(const AnyLayer& layer, const moe::Routing<S>& routing) {
  std::vector<double> sum(static_cast<std::size_t>(routing.tokens())), weights;
  for (const auto& c : routing.choices)
    if (c.fate == moe::Fate::sent) sum[static_cast<std::size_t>(c.token)] += c.weight;
  for (const auto& c : routing.choices) {
    const double divisor = layer.dispatching.renormalize_kept
                               ? std::max(sum[static_cast<std::size_t>(c.token)], layer.dispatching.renormalize_floor)
                               : 1.0;
    weights.push_back(c.fate == moe::Fate::sent ? c.weight / divisor : 0.0);
  }
  return weights;
}

inline bool is_near(double a, double b, double size) { return std::abs(a - b) <= 1e-8 * (1 + size); }

/// y, row by row; rows that are not finite, or too large, are passed over.
inline void check_outputs(const AnyLayer& layer, const moe::Batch<S>& batch, const AnyLayer::Tape& tape,
                          const Matrix<S>& y_TO) {
  const std::vector<double> weights = weights_of(layer, tape.routing);
  Matrix<S> naive = Matrix<S>::Zero(y_TO.rows(), y_TO.cols()), size = naive;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto& c = tape.routing.choices[i];
    reference::Row x = reference::row_of(batch.x_TD, c.token), out = x;
    double weight = c.weight;
    if (c.fate == moe::Fate::sent) {
      weight = layer.dispatching.weigh_input ? 1.0 : weights[i];
      if (layer.dispatching.weigh_input)
        for (double& value : x) value *= weights[i];
      out = output_of(layer.experts[static_cast<std::size_t>(c.expert)], x);
    } else if (c.fate == moe::Fate::unsent || !layer.dispatching.pass_dropped) {
      continue;
    }
    for (Index o = 0; o < y_TO.cols(); ++o) {
      naive(c.token, o) += weight * out[static_cast<std::size_t>(o)];
      size(c.token, o) += std::abs(weight * out[static_cast<std::size_t>(o)]);
    }
  }
  for (Index t = 0; t < y_TO.rows(); ++t) {
    bool finite = true;
    for (Index o = 0; o < y_TO.cols(); ++o) finite = finite && size(t, o) < 1e30 && naive(t, o) == naive(t, o);
    for (Index d = 0; d < batch.x_TD.cols(); ++d) finite = finite && std::abs(batch.x_TD(t, d)) < 1e30;
    for (Index o = 0; o < y_TO.cols(); ++o)
      expect(tape.routing.is_valid(t) ? !finite || is_near(y_TO(t, o), naive(t, o), size(t, o)) : y_TO(t, o) == 0,
             "an output is not what the choices say");
  }
}

/// The gradients of the linear experts: sum of weight * dy x' over what they were sent.
inline void check_linear_gradients(const AnyLayer& layer, const moe::Batch<S>& batch, const AnyLayer::Tape& tape,
                                   const Matrix<S>& dy_TO, const AnyLayer& gradient) {
  const std::vector<double> weights = weights_of(layer, tape.routing);
  for (std::size_t e = 0; e < layer.experts.size(); ++e) {
    const auto* slope = std::get_if<moe::Linear<S>>(&gradient.experts[e].expert);
    if (slope == nullptr) continue;
    Matrix<S> naive = Matrix<S>::Zero(slope->weight_OD.rows(), slope->weight_OD.cols()), size = naive;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto& c = tape.routing.choices[i];
      if (c.fate != moe::Fate::sent || c.expert != static_cast<Index>(e)) continue;
      for (Index o = 0; o < naive.rows(); ++o)
        for (Index d = 0; d < naive.cols(); ++d) {
          const double term = weights[i] * dy_TO(c.token, o) * batch.x_TD(c.token, d);
          naive(o, d) += term;
          size(o, d) += std::abs(term);
        }
    }
    for (Index o = 0; o < naive.rows(); ++o)
      for (Index d = 0; d < naive.cols(); ++d)
        expect(!(size(o, d) < 1e30) || is_near(slope->weight_OD(o, d), naive(o, d), size(o, d)),
               "the gradient of a linear expert is not what the choices say");
  }
}

}  // namespace fuzz
