// EXPECT: moe::Glu: the activation needs value<S>(chunk), static; see moe/expert/activations.hpp
#include "moe/moe.hpp"

#ifndef MOE_FIXED
#define value another_name
#endif
#include "trained_activation.hpp"

template moe::Matrix<float> train<moe::Glu<float, Doubled>>(const moe::Matrix<float>&, std::mt19937_64&);
