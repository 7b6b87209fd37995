#include "moe_language.hpp"

namespace example {

template struct LanguageModel<MoeLayer<float>>;
template struct LanguageTraining<MoeLayer<float>>;
template MoeLanguageModel random_language_model(Index, const ModelSize&, const std::function<MoeLayer<float>(Index)>&,
                                                moe::Random&);
template double bits_per_byte(const MoeLanguageModel&, std::span<const std::int64_t>, Index);

}  // namespace example
