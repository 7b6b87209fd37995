// EXPECT: moe: the random generator must deliver 32 or 64 full bits, as std::mt19937 and std::mt19937_64 do
// Half of the draws' bits would always be the same.
#include <random>

#include "moe/moe.hpp"

#ifdef MOE_FIXED
using Generator = std::mt19937;
#else
using Generator = std::minstd_rand;
#endif

moe::Router<float> make(Generator& generator) { return moe::Router<float>::random(4, 8, generator); }
