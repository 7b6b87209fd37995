// The library moe::compiled: all that the headers list as instances, for float and double.
#define MOE_DETAIL_COMPILES_THE_LIBRARY
#include "moe/moe.hpp"
