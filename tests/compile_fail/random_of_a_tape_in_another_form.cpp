// EXPECT: moe: random of an expert's tape must be a std::optional of moe::Random or std::uint64_t
#include <optional>

#include "moe/moe.hpp"

struct Doubling {
  struct Tape {
#ifdef MOE_FIXED
    std::optional<std::uint64_t> random;
#else
    std::uint64_t random = 0;
#endif
  };

  void forward(moe::ConstMatrixRef<float> x, moe::MatrixRef<float> y, Tape&) const { y = 2 * x; }
};

moe::Matrix<float> run(const moe::Layer<moe::Router<float>, moe::TopK, Doubling>& layer,
                       const moe::Matrix<float>& x_TD) {
  return layer.forward(x_TD);
}
