// Upcycling: a trained dense feed-forward network becomes the experts of a layer.
#pragma once

#include <cstddef>
#include <numeric>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/router/router.hpp"
#include "moe/surgery/select_units.hpp"

MOE_NAMESPACE_BEGIN

struct UpcycleOptions {
  Index granularity = 1;  ///< Every copy is cut into so many experts of F / granularity hidden units.
  double weight_sum = 1;  ///< What the weights of a token's choices add up to at the start.
};

/// `copies` copies of the network (Komatsuzaki et al. 2023, "Sparse Upcycling"), each cut into `granularity` slices
/// (He et al. 2024, arXiv 2410.07524): expert c * granularity + g is slice g of copy c. Outputs are scaled so that the
/// layer computes what the network did, to rounding, at step 0, if
///   - the weights of a token's choices add up to weight_sum: 1 with TopK's default, ChoiceWeights::renormalized() and
///     Softmax; k / E with ChoiceWeights::probabilities() and a router of zeros;
///   - all slices of a copy are chosen together, with equal weights: k is a multiple of the granularity, and the
///   router's
///     rows are equal within a copy: Router::zeros, or any router through repeat_rows.
/// Copies become different by the router, or by add_noise to each. An optimiser's moments are upcycled with
/// granularity = 1 or select_units. Throws std::invalid_argument if F does not divide.
template <class X>
std::vector<X> upcycle(const X& network, Index copies, UpcycleOptions options = {}) {
  require(copies >= 1 && options.granularity >= 1, "upcycle: ", copies, " copies in ", options.granularity,
          " slices each, both must be 1 or more");
  require(detail::has_finite_bits(options.weight_sum) && options.weight_sum > 0, "upcycle: weight_sum is ",
          options.weight_sum, ", it must be finite and more than 0");
  const Index hidden = network.w1_FD.rows(), width = hidden / options.granularity;
  require(hidden % options.granularity == 0, "upcycle: ", hidden, " hidden units do not divide into ",
          options.granularity, " slices");
  using S = typename decltype(network.w1_FD)::Scalar;
  std::vector<X> slices;
  for (Index g = 0; g < options.granularity; ++g) {
    std::vector<Index> units(static_cast<std::size_t>(width));
    std::iota(units.begin(), units.end(), g * width);
    slices.push_back(select_units(network, units));
    slices.back().w2_DF.array() *= static_cast<S>(static_cast<double>(options.granularity) / options.weight_sum);
    slices.back().b2_D *= static_cast<S>(1 / options.weight_sum);  // in every slice, whose weights add up
  }
  std::vector<X> experts;
  for (Index c = 0; c < copies; ++c) experts.insert(experts.end(), slices.begin(), slices.end());
  return experts;
}

/// Every row of the router so many times, one after the other: all slices of a copy start with the same logit, so that
/// a copy is chosen whole (He et al. 2024, "virtual group initialization").
template <class S>
Router<S> repeat_rows(const Router<S>& router, Index times) {
  require(times >= 1, "repeat_rows: ", times, " times, it must be 1 or more");
  router.check();
  Router<S> repeated{Matrix<S>(router.experts() * times, router.width()), Vector<S>(router.bias_E.size() * times)};
  repeated.jitter = router.jitter;
  for (Index e = 0; e < repeated.experts(); ++e) {
    repeated.weight_ED.row(e) = router.weight_ED.row(e / times);
    if (router.bias_E.size() > 0) repeated.bias_E(e) = router.bias_E(e / times);
  }
  return repeated;
}

MOE_NAMESPACE_END
