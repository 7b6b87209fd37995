// The smallest model: two tensors of different types.
#pragma once

#include "moe/core/core.hpp"

namespace moe::optim {

struct Toy {
  Matrix<double> weight = Matrix<double>{{1, -2}};
  Vector<float> bias = Vector<float>{{4}};

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("weight", self.weight...);
    f("bias", self.bias...);
  }
};

inline Toy toy(double a, double b, float c) { return {Matrix<double>{{a, b}}, Vector<float>{{c}}}; }

}  // namespace moe::optim
