// EXPECT: moe: an expert has stages, but lacks or misspells one of StagesOf, stages, forward_columns
#include "moe/moe.hpp"

#ifndef MOE_FIXED
#define begin_backward begin_backwards
#endif
#include "staged_expert.hpp"
