// EXPECT: moe::Layer: the experts compute in float, the router in double; make both of one scalar type
#include "moe/moe.hpp"

#ifdef MOE_FIXED
using Router = moe::Router<float>;
#else
using Router = moe::Router<double>;
#endif

using Layer = moe::Layer<Router, moe::TopK, moe::SwiGlu<float>>;

Layer* none() { return sizeof(Layer) > 0 ? nullptr : nullptr; }
