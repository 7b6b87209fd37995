// The vision transformer of the examples, compiled once for all of them (support/moe_vision.cpp).
#pragma once

#include "moe_layer.hpp"
#include "vision.hpp"

namespace example {

using MoeVisionTransformer = VisionTransformer<MoeLayer<float>>;
using MoeVisionTraining = VisionTraining<MoeLayer<float>>;

extern template struct VisionTransformer<MoeLayer<float>>;
extern template struct VisionTraining<MoeLayer<float>>;
extern template MoeVisionTransformer random_vision_transformer(const VisionSize&,
                                                               const std::function<MoeLayer<float>(Index)>&,
                                                               moe::Random&);

}  // namespace example
