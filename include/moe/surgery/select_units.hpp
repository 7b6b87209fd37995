// A network made of some of the hidden units of a feed-forward network.
#pragma once

#include <cstddef>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/weights.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/mlp.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class X>
void require_units(const X& network, const std::vector<Index>& units) {
  const Index hidden = network.w1_FD.rows();
  network.check(network.w1_FD.cols());
  require(!units.empty(), "select_units: no unit");
  for (const Index unit : units) require(unit >= 0 && unit < hidden, "select_units: unit ", unit, " of ", hidden);
}

/// The rows of the list; nothing stays nothing.
template <class S>
Weights<S> selected_rows(const Weights<S>& w, const std::vector<Index>& units) {
  return w.matrix()(units, Eigen::seqN(0, w.cols())).eval();
}
template <class S>
Vector<S> selected_rows(const Vector<S>& v, const std::vector<Index>& units) {
  if (v.size() == 0) return v;
  return v(units);
}
template <class S>
Weights<S> selected_columns(const Weights<S>& w, const std::vector<Index>& units) {
  return w.matrix()(Eigen::seqN(0, w.rows()), units).eval();
}

}  // namespace detail

/// The network with these hidden units only, in the order of the list. The output's bias and the settings stay. It
/// works for gradients and moments too. Throws std::invalid_argument if a unit does not exist, there are none, or the
/// network's shapes do not fit together.
template <class S, class Activation>
Mlp<S, Activation> select_units(const Mlp<S, Activation>& network, const std::vector<Index>& units) {
  detail::require_units(network, units);
  return {.w1_FD = detail::selected_rows(network.w1_FD, units),
          .w2_DF = detail::selected_columns(network.w2_DF, units),
          .b1_F = detail::selected_rows(network.b1_F, units),
          .b2_D = network.b2_D,
          .dropout = network.dropout};
}
template <class S, class Activation>
Glu<S, Activation> select_units(const Glu<S, Activation>& network, const std::vector<Index>& units) {
  detail::require_units(network, units);
  return {.w1_FD = detail::selected_rows(network.w1_FD, units),
          .w3_FD = detail::selected_rows(network.w3_FD, units),
          .w2_DF = detail::selected_columns(network.w2_DF, units),
          .b1_F = detail::selected_rows(network.b1_F, units),
          .b3_F = detail::selected_rows(network.b3_F, units),
          .b2_D = network.b2_D,
          .multiplier_F = detail::selected_rows(network.multiplier_F, units),
          .dropout = network.dropout,
          .activation = network.activation};
}

/// One expert for each list of units: MoEBERT's split, of the lists that split_by_importance makes.
template <class X>
std::vector<X> split_network(const X& network, const std::vector<std::vector<Index>>& units_of) {
  std::vector<X> experts;
  for (const auto& units : units_of) experts.push_back(select_units(network, units));
  return experts;
}

MOE_NAMESPACE_END
