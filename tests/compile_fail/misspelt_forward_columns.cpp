// EXPECT: moe: an expert has stages, but lacks or misspells one of StagesOf, stages, forward_columns
#include "moe/moe.hpp"

#ifndef MOE_FIXED
#define forward_columns forward_colums
#endif
#include "staged_expert.hpp"
