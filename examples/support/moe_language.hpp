// The language model of the examples, compiled once for all of them (support/moe_language.cpp).
#pragma once

#include <span>

#include "language_training.hpp"
#include "moe_layer.hpp"

namespace example {

using MoeLanguageModel = LanguageModel<MoeLayer<float>>;
using MoeLanguageTraining = LanguageTraining<MoeLayer<float>>;

extern template struct LanguageModel<MoeLayer<float>>;
extern template struct LanguageTraining<MoeLayer<float>>;
extern template MoeLanguageModel random_language_model(Index, const ModelSize&,
                                                       const std::function<MoeLayer<float>(Index)>&, moe::Random&);
extern template double bits_per_byte(const MoeLanguageModel&, std::span<const std::int64_t>, Index);

}  // namespace example
