#include "moe_vision.hpp"

namespace example {

template struct VisionTransformer<MoeLayer<float>>;
template struct VisionTraining<MoeLayer<float>>;
template MoeVisionTransformer random_vision_transformer(const VisionSize&, const std::function<MoeLayer<float>(Index)>&,
                                                        moe::Random&);

}  // namespace example
