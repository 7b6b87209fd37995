#include "shared_moe_language.hpp"

namespace example {

template struct LanguageModel<SharedMoeLayer>;
template struct LanguageTraining<SharedMoeLayer>;
template LanguageModel<SharedMoeLayer> random_language_model(Index, const ModelSize&,
                                                             const std::function<SharedMoeLayer(Index)>&, moe::Random&);
template double bits_per_byte(const LanguageModel<SharedMoeLayer>&, std::span<const std::int64_t>, Index);

}  // namespace example
