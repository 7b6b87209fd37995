// EXPECT: moe: this type does not name its parameters: it needs template <class F, class... Self> static void
#include "moe/moe.hpp"

struct Scaling {
  moe::Vector<float> scale_D;

  template <class F, class... Self>
#ifdef MOE_FIXED
  static void visit_parameters(F&& f, Self&... self){
#else
  static void visit_parameter(F&& f, Self&... self) {
#endif
      f("scale", self.scale_D...);
}
}
;

Scaling make(const Scaling& scaling) { return moe::zeros_like(scaling); }
