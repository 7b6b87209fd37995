// EXPECT: moe: a number is no Capacity: write Capacity::factor(1.25) for 1.25 times an expert's even share
#include "moe/moe.hpp"

void set(moe::DispatchOptions& options) {
#ifdef MOE_FIXED
  options.capacity = moe::Capacity::factor(1.25);
#else
  options.capacity = 1.25;
#endif
}
