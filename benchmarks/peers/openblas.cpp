// OpenBLAS: sgemm for every expert. Built with OpenMP it runs in one thread inside a parallel region. Its name is told
// with that of its kernels: some versions do not know some processors, and take those for an older one, unless the
// environment says OPENBLAS_CORETYPE=SkylakeX, say.
#include <cblas.h>

#include <stdexcept>
#include <string>

#include "per_expert.hpp"

namespace bench {

namespace {

struct OpenBlasProducts {
  using In = const moe::ConstMatrixRef<float>&;
  using Out = moe::MatrixRef<float>;

  static void outputs(In x, In w, Out y) { product(x, CblasNoTrans, w, CblasTrans, x.cols(), 0, y); }
  static void inputs(In dy, In w, Out dx, bool add) {
    product(dy, CblasNoTrans, w, CblasNoTrans, w.rows(), add ? 1.0f : 0.0f, dx);
  }
  static void weights(In dy, In x, Out dw) { product(dy, CblasTrans, x, CblasNoTrans, x.rows(), 1, dw); }

 private:
  static void product(In a, CBLAS_TRANSPOSE a_as, In b, CBLAS_TRANSPOSE b_as, Index inner, float beta, Out c) {
    const auto size = [](Index n) { return static_cast<blasint>(n); };
    cblas_sgemm(CblasRowMajor, a_as, b_as, size(c.rows()), size(c.cols()), size(inner), 1, a.data(),
                size(a.outerStride()), b.data(), size(b.outerStride()), beta, c.data(), size(c.outerStride()));
  }
};

}  // namespace

Implementation openblas_implementation() {
  if (openblas_get_parallel() != OPENBLAS_OPENMP)
    throw std::runtime_error("this OpenBLAS has threads of its own beside OpenMP's; build with libopenblas-openmp-dev");
  const std::string configuration = openblas_get_config();  // "OpenBLAS <version> <options>"
  const auto end = configuration.find(' ', configuration.find(' ') + 1);
  return {configuration.substr(0, end) + ' ' + openblas_get_corename(), ways_of<OpenBlasProducts>(),
          ways_of<OpenBlasProducts>()};
}

}  // namespace bench
