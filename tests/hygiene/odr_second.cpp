// The second translation unit of odr_test.cpp.
#include "all_headers.hpp"
#include "hygiene/train_once.hpp"

double train_once_elsewhere(unsigned seed);
double train_once_elsewhere(unsigned seed) { return moe::hygiene::train_once(seed); }
