// EXPECT: moe::Layer: what is given as losses is not a loss: it must be Losses{...}
// A loss by itself would be added up without its coefficient.
#include "moe/moe.hpp"

#ifdef MOE_FIXED
using Loss = moe::Losses<moe::RouterZLoss>;
#else
using Loss = moe::RouterZLoss;
#endif

std::size_t size() { return sizeof(moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>, Loss>); }
