// EXPECT: moe: an expert has stages, but lacks or misspells one of StagesOf, stages, forward_columns
#include "moe/moe.hpp"

#ifndef MOE_FIXED
#define backward_stage backwards_stage
#endif
#include "staged_expert.hpp"
