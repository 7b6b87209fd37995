// The importance of the hidden units of a trained feed-forward network, and its split into experts by importance
// (MoEBERT). split_network (moe/surgery/select_units.hpp) makes the experts; Hash or a learned gate may route to them.
// MeanSquaredDistillation from the outputs of the dense network, layer by layer, brings them close to it again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/weights.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/mlp.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Of each unit: the sum of w .* dw over its row (of an incoming weight) or its column (of the outgoing one).
template <class S>
Vector<S> row_products(const Weights<S>& w, const Weights<S>& dw) {
  return w.matrix().cwiseProduct(dw.matrix()).rowwise().sum();
}
template <class S>
Vector<S> column_products(const Weights<S>& w, const Weights<S>& dw) {
  return w.matrix().cwiseProduct(dw.matrix()).colwise().sum().transpose();
}

/// importance_F += | products_F |, after the checks that all networks share.
template <class X, class S, class Products>
void add_importance(const X& network, const X& gradient, Vector<S>& importance_F, Products&& products) {
  network.check(network.w1_FD.cols());
  require_same_shapes("add_neuron_importance: the gradient", network, gradient);
  const Index hidden = network.w1_FD.rows();
  require(importance_F.size() == 0 || importance_F.size() == hidden, "add_neuron_importance: ", importance_F.size(),
          " scores for ", hidden, " hidden units");
  Vector<S> importance = products().cwiseAbs();
  if (importance_F.size() == 0)
    importance_F = std::move(importance);
  else
    importance_F += importance;
}

}  // namespace detail

/// importance_F[j] += | w1_j . dL/dw1_j + w2_j . dL/dw2_j | for one example's gradient, w1_j the row of w1 and w2_j the
/// column of w2 that belong to unit j; biases do not count (Zuo et al. 2022, MoEBERT, section 3.2). It is the change of
/// the loss, to first order, if the unit is removed. Call it for one example at a time: the absolute value is taken of
/// each. Throws std::invalid_argument if shapes differ.
template <class S, class Activation>
void add_neuron_importance(const Mlp<S, Activation>& network, const Mlp<S, Activation>& gradient,
                           Vector<S>& importance_F) {
  detail::add_importance(network, gradient, importance_F, [&]() -> Vector<S> {
    return detail::row_products(network.w1_FD, gradient.w1_FD) + detail::column_products(network.w2_DF, gradient.w2_DF);
  });
}

/// The same of a gated unit, with w3_j . dL/dw3_j in the sum.
template <class S, class Activation>
void add_neuron_importance(const Glu<S, Activation>& network, const Glu<S, Activation>& gradient,
                           Vector<S>& importance_F) {
  detail::add_importance(network, gradient, importance_F, [&]() -> Vector<S> {
    return detail::row_products(network.w1_FD, gradient.w1_FD) + detail::row_products(network.w3_FD, gradient.w3_FD) +
           detail::column_products(network.w2_DF, gradient.w2_DF);
  });
}

/// The hidden units by falling importance; of equal ones the lower index comes first. Throws std::invalid_argument if
/// one is NaN.
template <class S>
std::vector<Index> order_by_importance(const Vector<S>& importance_F) {
  for (Index f = 0; f < importance_F.size(); ++f)
    require(!detail::has_nan_bits(importance_F(f)), "order_by_importance: unit ", f, " has NaN");
  std::vector<Index> order(static_cast<std::size_t>(importance_F.size()));
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(), [&](Index a, Index b) {
    return importance_F(a) != importance_F(b) ? importance_F(a) > importance_F(b) : a < b;
  });
  return order;
}

/// The units of each of E experts of `width` hidden units: the `shared` most important ones go to every expert, the
/// others go to the experts in turn (MoEBERT, section 3.2). Throws std::invalid_argument if there are not enough.
inline std::vector<std::vector<Index>> split_by_importance(const std::vector<Index>& order, Index experts, Index shared,
                                                           Index width) {
  const auto units = static_cast<Index>(order.size());
  require(experts >= 1 && shared >= 0 && shared <= width && width <= units, "split_by_importance: ", units,
          " units cannot give ", experts, " experts ", width, " each, ", shared, " of them shared");
  std::vector<std::vector<Index>> units_of(static_cast<std::size_t>(experts));
  for (Index e = 0; e < experts; ++e) {
    auto& own = units_of[static_cast<std::size_t>(e)];
    own.assign(order.begin(), order.begin() + shared);
    for (Index i = shared + e; i < units && static_cast<Index>(own.size()) < width; i += experts)
      own.push_back(order[static_cast<std::size_t>(i)]);
    require(static_cast<Index>(own.size()) == width, "split_by_importance: expert ", e, " gets ", own.size(),
            " units, not ", width);
  }
  return units_of;
}

MOE_NAMESPACE_END
