#include "moe/concepts.hpp"

#include <gtest/gtest.h>

#include <string_view>

#include "moe/expert/linear.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/loss/router_z.hpp"
#include "moe/router/router.hpp"

namespace moe {
namespace concepts_test {

// The smallest part of each kind, as a user would write it.
struct Doubling {
  struct Tape {};
  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape&) const { y = 2 * x; }
};

struct TrainableDoubling : Doubling {
  void backward(ConstMatrixRef<float>, ConstMatrixRef<float> dy, Tape&, MatrixRef<float> dx, TrainableDoubling&) const {
    dx = 2 * dy;
  }
  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
};

struct FirstExpert {
  void route(const Batch<float>& batch, Routing<float>& routing, Random*) const {
    for (Index t = 0; t < batch.tokens(); ++t) routing.choices.push_back({t, 0, 1.0f});
  }
};

struct TrainableFirstExpert : FirstExpert {
  void backward(const Routing<float>&, Routing<float>&) const {}
};

struct LearnedFirstExpert : FirstExpert {
  void backward(const Batch<float>&, const Routing<float>&, Routing<float>&, MatrixRef<float>,
                LearnedFirstExpert&) const {}
};

struct NoLoss {
  double coefficient = 0;
  static constexpr std::string_view name() { return "none"; }
  float value(const Routing<float>&) const { return 0; }
  void backward(const Routing<float>&, float, Routing<float>&) const {}
};

static_assert(Expert<Doubling, float> && !TrainableExpert<Doubling, float>);
static_assert(TrainableExpert<TrainableDoubling, float>);
static_assert(Gate<FirstExpert, float> && !TrainableGate<FirstExpert, float>);
static_assert(TrainableGate<TrainableFirstExpert, float>);
static_assert(TrainableGate<LearnedFirstExpert, float>);
static_assert(AuxiliaryLoss<NoLoss, float> && !AuxiliaryLoss<Doubling, float>);
static_assert(ScoringRouter<Router<float>> && !ScoringRouter<Doubling>);

// Parts of the library work in both scalar types, and no expert works in another's.
static_assert(TrainableExpert<Linear<double>, double> && !Expert<Linear<double>, float>);
static_assert(TrainableGate<TopK, double> && AuxiliaryLoss<RouterZLoss, double>);

}  // namespace concepts_test
}  // namespace moe
