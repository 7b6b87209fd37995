// EXPECT: moe: this part keeps matrices and names none of them, so that it would be saved and trained without them
// An expert that is never trained, in a file.
#include "moe/io/model_file.hpp"
#include "moe/moe.hpp"

#ifndef MOE_FIXED
#define visit_parameters visit_paramters
#endif

struct Scaling {
  moe::Vector<float> scale_D;

  struct Tape {};

  void forward(moe::ConstMatrixRef<float> x, moe::MatrixRef<float> y, Tape&) const { y = x * scale_D.asDiagonal(); }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
  }
};

using Layer = moe::Layer<moe::Router<float>, moe::TopK, Scaling>;

void save(const Layer& layer) { moe::io::save("layer.safetensors", layer); }
