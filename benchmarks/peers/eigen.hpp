// Plain Eigen: its product of matrices, for every expert.
#pragma once

#include <string>

#include "per_expert.hpp"

namespace bench {

struct EigenProducts {
  using In = const moe::ConstMatrixRef<float>&;
  using Out = moe::MatrixRef<float>;

  static void outputs(In x, In w, Out y) { y.noalias() = x * w.transpose(); }
  static void inputs(In dy, In w, Out dx, bool add) {
    if (add)
      dx.noalias() += dy * w;
    else
      dx.noalias() = dy * w;
  }
  static void weights(In dy, In x, Out dw) { dw.noalias() += dy.transpose() * x; }
};

inline Implementation eigen_implementation() {
  std::string name = "Eigen";
#ifdef EIGEN_PATCH_VERSION  // Eigen 5 and later, whose "world" stays 3
  for (const int part : {EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION, EIGEN_PATCH_VERSION})
#else
  for (const int part : {EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION})
#endif
    name += (name == "Eigen" ? ' ' : '.') + std::to_string(part);
  return {name, ways_of<EigenProducts>(), ways_of<EigenProducts>()};
}

}  // namespace bench
