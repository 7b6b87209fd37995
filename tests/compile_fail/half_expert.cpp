// EXPECT: moe: layers and their parts compute in float or double
#include <random>

#include "moe/moe.hpp"

#ifdef MOE_FIXED
using S = double;
#else
using S = Eigen::half;
#endif

moe::SwiGlu<S> make(std::mt19937_64& rng) { return moe::SwiGlu<S>::random(4, 8, rng); }
