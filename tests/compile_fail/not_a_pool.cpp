// EXPECT: moe::PoolExecutor: the pool needs NumThreads() and Schedule(task), task a std::function<void()>
#include <functional>

#include "moe/moe.hpp"

struct Pool {
  int NumThreads() const { return 1; }
#ifdef MOE_FIXED
  void Schedule(const std::function<void()>& task) { task(); }
#else
  void submit(const std::function<void()>& task) { task(); }
#endif
};

using SomeLayer = moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>>;

moe::Matrix<float> run(const SomeLayer& layer, const moe::Matrix<float>& x_TD, SomeLayer::Tape& tape, Pool& pool) {
  return layer.forward(x_TD, tape, moe::PoolExecutor(pool));
}
