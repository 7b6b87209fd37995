// The same with an expert beside each layer that every token goes to (support/shared_moe_language.cpp).
#pragma once

#include "moe_language.hpp"

namespace example {

using SharedMoeLayer = moe::Shared<MoeLayer<float>, moe::Mlp<float, moe::Relu>>;

extern template struct LanguageModel<SharedMoeLayer>;
extern template struct LanguageTraining<SharedMoeLayer>;
extern template LanguageModel<SharedMoeLayer> random_language_model(Index, const ModelSize&,
                                                                    const std::function<SharedMoeLayer(Index)>&,
                                                                    moe::Random&);
extern template double bits_per_byte(const LanguageModel<SharedMoeLayer>&, std::span<const std::int64_t>, Index);

}  // namespace example
