#include "moe/concepts.hpp"

#include <gtest/gtest.h>

#include <string_view>

#include "moe/expert/clamped_swiglu.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/linear.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/situ.hpp"
#include "moe/expert/zero_computation.hpp"
#include "moe/gating/base_assignment.hpp"
#include "moe/gating/expert_choice.hpp"
#include "moe/gating/fixed_noise.hpp"
#include "moe/gating/gumbel_noise.hpp"
#include "moe/gating/hash.hpp"
#include "moe/gating/no_token_left_behind.hpp"
#include "moe/gating/noisy_top_k.hpp"
#include "moe/gating/optional_choices.hpp"
#include "moe/gating/prioritized.hpp"
#include "moe/gating/replay.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/sinkhorn.hpp"
#include "moe/gating/softmax.hpp"
#include "moe/gating/sparse_mixer.hpp"
#include "moe/gating/threshold.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/gating/top_p.hpp"
#include "moe/gating/variable_top_k.hpp"
#include "moe/loss/device_balance.hpp"
#include "moe/loss/entropy.hpp"
#include "moe/loss/gate_label.hpp"
#include "moe/loss/importance.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"
#include "moe/loss/score_variance.hpp"
#include "moe/loss/second_choice.hpp"
#include "moe/loss/smooth_load.hpp"
#include "moe/loss/token_balance.hpp"
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

// The experts, gates and losses of the library.
static_assert(StagedExpert<ClampedSwiGlu<float>, float>);
static_assert(StagedExpert<SituGlu<float>, float>);
static_assert(TrainableExpert<SwiGlu<float>, float> && StagedExpert<SwiGlu<float>, float>);
static_assert(TrainableExpert<Linear<float>, float>);
static_assert(TrainableExpert<Mlp<float>, float> && StagedExpert<Mlp<float>, float>);
static_assert(TrainableExpert<ZeroExpert<float>, float> && TrainableExpert<IdentityExpert<float>, float> &&
              TrainableExpert<ConstantExpert<float>, float>);

static_assert(TrainableGate<BaseAssignment, float>);
static_assert(TrainableGate<ExpertChoice, float>);
static_assert(TrainableGate<FixedNoise<TopK>, float>);
static_assert(TrainableGate<GumbelNoise<TopK>, float>);
static_assert(TrainableGate<Hash, float>);
static_assert(TrainableGate<NoTokenLeftBehind, float>);
static_assert(TrainableGate<NoisyTopK<float>, float>);
static_assert(TrainableGate<OptionalChoices, float>);
static_assert(TrainableGate<Prioritized<TopK>, float>);
static_assert(TrainableGate<Replay<float>, float>);
static_assert(TrainableGate<ScoredTopK, float>);
static_assert(TrainableGate<Sinkhorn, float>);
static_assert(TrainableGate<Softmax, float>);
static_assert(TrainableGate<SparseMixer, float>);
static_assert(TrainableGate<Threshold, float>);
static_assert(TrainableGate<TopK, float>);
static_assert(TrainableGate<TopP, float>);
static_assert(TrainableGate<VariableTopK, float>);

static_assert(AuxiliaryLoss<DeviceBalanceLoss, float>);
static_assert(AuxiliaryLoss<EntropyLoss, float>);
static_assert(AuxiliaryLoss<GateLabelLoss, float>);
static_assert(AuxiliaryLoss<ImportanceLoss, float>);
static_assert(AuxiliaryLoss<LoadLoss, float>);
static_assert(AuxiliaryLoss<LoadBalanceLoss, float>);
static_assert(AuxiliaryLoss<RouterZLoss, float>);
static_assert(AuxiliaryLoss<SecondChoiceLoss, float>);
static_assert(AuxiliaryLoss<TokenBalanceLoss, float>);
static_assert(AuxiliaryLoss<ScoreVarianceLoss, float>);

}  // namespace concepts_test
}  // namespace moe
