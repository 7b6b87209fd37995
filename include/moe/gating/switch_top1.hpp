// The gate of the Switch Transformer.
#pragma once

#include "moe/core/core.hpp"
#include "moe/gating/top_k.hpp"

MOE_NAMESPACE_BEGIN

/// One expert for each token, weighed with its probability (Fedus et al. 2021, section 2.1). The paper's jitter of the
/// router's input is `Router::jitter`, its loss LoadBalanceLoss, its capacity Capacity::factor.
constexpr TopK switch_top1() { return {.k = 1, .weights = ChoiceWeights::probabilities()}; }

MOE_NAMESPACE_END
