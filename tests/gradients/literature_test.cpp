// Every gate, way to dispatch and loss of the literature once: the backward pass against differences.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/gradient_options.hpp"

namespace literature_test {

using namespace moe;
using X = Linear<double>;
using Mask = std::vector<std::uint8_t>;

constexpr Index width = 6, experts = 4, tokens = 12;
const Mask some_padding{1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1};

class Literature : public ::testing::Test {
 protected:
  std::mt19937_64 rng{42};
  Matrix<double> x = random_matrix<double>(tokens, width, rng);
  Router<double> router = biased_router();
  Losses<ImportanceLoss, LoadBalanceLoss, RouterZLoss> losses{ImportanceLoss{}, LoadBalanceLoss{},
                                                              RouterZLoss{.coefficient = 0.1}};
  TopK top2{.k = 2, .weights = ChoiceWeights::probabilities()};
  DispatchOptions tight = Capacity::factor(0.7);

  Router<double> biased_router() {
    auto r = Router<double>::random(experts, width, rng);
    r.bias_E = random_matrix<double>(experts, 1, rng);
    return r;
  }

  template <class R, class G, class L>
  void expect_exact(const R& r, const G& gate, const L& loss, const DispatchOptions& dispatching, Index group_size = 0,
                    const Mask& valid = {}) {
    const Layer layer{r, gate, make_experts<X>(experts, width, width, rng), loss, dispatching};
    std::vector<std::int64_t> ids;
    for (Index t = 0; t < tokens; ++t) ids.push_back(t % 5);
    Batch<double> batch(x);
    batch.ids = ids, batch.valid = valid, batch.group_size = group_size;
    EXPECT_TRUE(
        moe::testing::check_layer_gradients(layer, batch, support::gradient_options({.entries = 60, .tape_seed = 5})));
  }
  template <class G>
  void expect_exact(const G& gate) {
    expect_exact(router, gate, losses, tight);
    expect_exact(router, gate, losses, tight, 6, some_padding);
  }
};

TEST_F(Literature, GShardAndStMoe) {
  expect_exact(gshard_top2());
  const LoadBalanceLoss kept{.coefficient = 1, .count = LoadBalanceLoss::Count::kept_first_choices};
  expect_exact(router, st_moe_top_n(3), Losses{kept}, tight);
}

TEST_F(Literature, WaysToDispatch) {
  DispatchOptions options = tight;
  options.renormalize_kept = true;
  expect_exact(router, top2, losses, options, 6, some_padding);
  options.weigh_input = true;
  expect_exact(router, top2, losses, options);
  options.renormalize_kept = false;
  expect_exact(router, top2, losses, options);
  options = tight;
  options.pass_dropped = true;
  expect_exact(router, switch_top1(), losses, options, 6, some_padding);
}

TEST_F(Literature, OrdersOfPriority) {
  for (const Priority priority : {Priority::token, Priority::best_probability, Priority::weight, Priority::logit,
                                  Priority::logit_against_zero, Priority::random})
    expect_exact(Prioritized<TopK>{top2, priority, tight.capacity});
  expect_exact(NoTokenLeftBehind{.capacity = tight.capacity});
}

TEST_F(Literature, Noise) {
  expect_exact(GumbelNoise<TopK>{top2});
  expect_exact(GumbelNoise<TopK>{top2, true});
  auto noisy = LearnedNoise<double, Prioritized<TopK>>::zeros(experts, width, {top2, Priority::weight});
  noisy.noise_weight_ED = random_matrix<double>(experts, width, rng);
  expect_exact(router, noisy, Losses{ImportanceLoss{.coefficient = 1}, LoadLoss{.coefficient = 1}}, tight);
}

// The threshold is another expert's noisy logit, whose gradient goes back through the noise of any kind.
TEST_F(Literature, LoadLossesBehindEveryNoise) {
  const Losses of_load{LoadLoss{.coefficient = 1}};
  expect_exact(router, GumbelNoise<TopK>{top2}, of_load, tight, 6, some_padding);
  expect_exact(router, GumbelNoise<TopK>{top2, true}, of_load, tight);
  expect_exact(router, GumbelNoise<ScoredTopK>{{.k = 2}, false, 0.5}, of_load, tight);
  expect_exact(router, FixedNoise{ScoredTopK{.k = 2}, 2.0}, of_load, tight, 6, some_padding);
  const ScoredTopK biased{.k = 2, .selection_bias_E = random_matrix<double>(experts, 1, rng)};
  expect_exact(router, FixedNoise{biased, 2.0}, of_load, tight);
  expect_exact(router, FixedNoise{Sinkhorn{.k = 1}, 2.0}, of_load, tight);
}

TEST_F(Literature, NoiseInFrontOfGatesThatDoNotTakeTheLargestLogits) {
  for (const auto axis : {ExpertChoice::Axis::experts, ExpertChoice::Axis::tokens}) {
    expect_exact(GumbelNoise<ExpertChoice>{{.factor = 1.5, .softmax_axis = axis}});
    expect_exact(FixedNoise{ExpertChoice{.factor = 1.5, .softmax_axis = axis}, 2.0});
  }
  for (const Index k : {1, 2}) {
    expect_exact(GumbelNoise<Sinkhorn>{{.k = k}});
    expect_exact(FixedNoise{Sinkhorn{.k = k, .temperature = 0.5}, 2.0});
  }
  expect_exact(
      FixedNoise{Hash{.tables = {{0, 1, 2, 3, 0}, {1, 2, 3, 0, 1}}, .weights = ChoiceWeights::renormalized()}, 2.0});
}

TEST_F(Literature, LoadLosses) {
  auto noisy = NoisyTopK<double>::zeros(experts, width, {.k = 2});
  noisy.noise_weight_ED = random_matrix<double>(experts, width, rng);
  for (const auto threshold : {LoadLoss::Threshold::excluding_itself, LoadLoss::Threshold::kth_largest,
                               LoadLoss::Threshold::among_probabilities, LoadLoss::Threshold::of_probabilities}) {
    const Losses of_load{LoadLoss{.coefficient = 1, .threshold = threshold}};
    expect_exact(router, noisy, of_load, tight);
    expect_exact(router, FixedNoise{TopK{.k = 2}, 2.0}, of_load, tight, 6, some_padding);
  }
}

TEST_F(Literature, ScoresBiasAndGroups) {
  for (const auto scores : {&Scores::softmax, &Scores::sigmoid, &Scores::sqrt_softplus})
    for (const bool normalize : {true, false})
      expect_exact(ScoredTopK{.k = 2,
                              .scores = scores({.normalize = normalize, .scale = 2.5}),
                              .selection_bias_E = random_matrix<double>(experts, 1, rng),
                              .groups = 2,
                              .groups_used = 1});
}

TEST_F(Literature, ScoresAndSigmoidsAsWeights) {
  const std::vector<Index> k_T{2, 0, 1, 4, 3, 1, 2, 2, 0, 4, 1, 3};
  for (const ChoiceWeights& weights :
       {ChoiceWeights::sigmoid(), ChoiceWeights(Scores::sigmoid({.normalize = false, .scale = 2})),
        ChoiceWeights(Scores::sqrt_softplus({.epsilon = 0.1}))}) {
    expect_exact(TopK{.k = 2, .weights = weights});
    expect_exact(TopP{.p = 0.7, .weights = weights});
    expect_exact(VariableTopK{.k_T = k_T, .weights = weights});
  }
}

TEST_F(Literature, OtherSums) {
  expect_exact(TopK{.k = 2, .weights = ChoiceWeights::renormalized({.norm = 2})});
  expect_exact(TopK{.k = 3, .weights = ChoiceWeights::renormalized({.epsilon = 0.1, .norm = 3})});
  expect_exact(TopK{.k = 2, .weights = ChoiceWeights::renormalized({.epsilon = Epsilon::floor(0.6), .norm = 2})});
  expect_exact(ScoredTopK{.k = 2, .scores = Scores::sigmoid({.epsilon = Epsilon::floor(1)})});
}

TEST_F(Literature, NumbersOfExpertsByToken) {
  const std::vector<Index> k_T{2, 0, 1, 4, 3, 1, 2, 2, 0, 4, 1, 3};
  for (const auto& weights : {ChoiceWeights::softmax_of_chosen(), ChoiceWeights::renormalized(),
                              ChoiceWeights::probabilities(), ChoiceWeights::uniform()})
    expect_exact(VariableTopK{.k_T = k_T, .weights = weights});
  expect_exact(TopP{.p = 0.7, .stay_below = true});
  expect_exact(VariableTopK{.k_T = k_T, .weights = ChoiceWeights::renormalized({.epsilon = 0.1, .norm = 2})});
  expect_exact(TopP{.p = 0.7, .weights = ChoiceWeights::renormalized({.epsilon = Epsilon::floor(0.9)})});
}

TEST_F(Literature, OtherChoices) {
  expect_exact(TopP{.p = 0.7});
  expect_exact(TopP{.p = 0.7, .weights = ChoiceWeights::renormalized()});
  expect_exact(Threshold{});
  expect_exact(Sinkhorn{.k = 1});
  expect_exact(Sinkhorn{.k = 2});
  expect_exact(BaseAssignment{});
  auto replay = Replay<double>::uniform(tokens, experts, 2);
  expect_exact(router, replay, losses, tight);
  replay.weights = ChoiceWeights::softmax_of_chosen();
  expect_exact(router, replay, losses, tight);
  replay.weights = ChoiceWeights::renormalized({.epsilon = 0.1, .norm = 3});
  expect_exact(router, replay, losses, tight);
  replay.weights = Scores::sigmoid({.epsilon = 0.1, .scale = 2});
  expect_exact(router, replay, losses, tight);
}

TEST_F(Literature, ExpertChoiceAndHash) {
  expect_exact(router, ExpertChoice{.softmax_axis = ExpertChoice::Axis::tokens, .average = true}, losses, {}, 6,
               some_padding);
  expect_exact(router, ExpertChoice{.average = true}, losses, {});
  Hash hash = Hash::random(5, experts, rng);
  hash.tables.push_back(Hash::random(5, experts, rng).tables[0]);
  for (const auto& weights :
       {ChoiceWeights::uniform(), ChoiceWeights::renormalized(), ChoiceWeights::probabilities()}) {
    hash.weights = weights;
    expect_exact(hash);
  }
  hash.weights = ChoiceWeights::renormalized({.epsilon = 0.1, .norm = 2});
  expect_exact(hash);
  for (const auto scores : {&Scores::softmax, &Scores::sigmoid, &Scores::sqrt_softplus}) {
    hash.weights = scores({.scale = 1.5});
    expect_exact(hash);
  }
}

TEST_F(Literature, CosineRouter) {
  auto cosine = CosineRouter<double>::random(experts, width, 5, rng);
  cosine.expert_EP = random_matrix<double>(experts, 5, rng);
  cosine.log_scale(0) = 0.3;
  expect_exact(cosine, top2, losses, tight);
  expect_exact(cosine, top2, losses, tight, 0, some_padding);
}

TEST_F(Literature, BalanceLosses) {
  using Count = LoadBalanceLoss::Count;
  for (const auto count :
       {Count::first_choices, Count::all_choices, Count::all_choices_share, Count::kept_first_choices,
        Count::kept_first_choices_share, Count::dropped_to_first_expert, Count::plain_top_k_share})
    expect_exact(router, TopK{.k = 2},
                 Losses{LoadBalanceLoss{.coefficient = 1, .count = count, .scope = LoadBalanceLoss::Scope::sequence}},
                 tight, 4, some_padding);
  const SecondChoiceLoss second{.coefficient = 1};
  expect_exact(router, gshard_top2(), Losses{second}, tight);
  expect_exact(router, gshard_top2(), Losses{second}, tight, 6, some_padding);
  const Vector<double> counts{{3, 1, 4, 1}};
  expect_exact(router, TopK{.k = 2}, Losses{LoadBalanceLoss{.coefficient = 1, .earlier = {counts, 9}}}, tight, 0,
               some_padding);
  const DeviceBalanceLoss computation{.coefficient = 1, .devices = 2};
  DeviceBalanceLoss communication = computation;
  communication.kind = DeviceBalanceLoss::Kind::communication;
  expect_exact(router, TopK{.k = 2}, Losses{computation, communication}, tight, 6, some_padding);
}

TEST_F(Literature, EntropyLosses) {
  using Kind = EntropyLoss::Kind;
  expect_exact(
      router, TopK{.k = 2},
      Losses{EntropyLoss{.coefficient = 1}, EntropyLoss{.coefficient = 1, .kind = Kind::global, .threshold = 1.38},
             EntropyLoss{.coefficient = 1, .kind = Kind::mutual_information}},
      {}, 0, some_padding);
}

TEST_F(Literature, ExpertDiversity) {
  for (const bool squared : {false, true}) {
    const ExpertDiversityLoss loss{.squared = squared};
    Matrix<double> w = random_matrix<double>(experts, width, rng), dw = Matrix<double>::Zero(experts, width);
    loss.backward(w, 1, dw);
    moe::testing::GradientReport report;
    moe::testing::check_tensor(
        "weight", w.data(), dw.data(), w.size(), [&] { return loss.value(w); }, {}, report);
    EXPECT_TRUE(report);
  }
}

TEST_F(Literature, Distillation) {
  Matrix<double> student = x, teacher = random_matrix<double>(tokens, width, rng),
                 d = Matrix<double>::Zero(tokens, width);
  const SoftLabelDistillation soft{.temperature = 2};
  soft.backward<double>(student, teacher, 1.0, d);
  moe::testing::GradientReport report;
  const auto soft_loss = [&] { return soft.value<double>(student, teacher); };
  moe::testing::check_tensor("student", student.data(), d.data(), d.size(), soft_loss, {}, report);
  d.setZero();
  const MeanSquaredDistillation squared;
  squared.backward<double>(student, teacher, 1.0, d);
  const auto squared_loss = [&] { return squared.value<double>(student, teacher); };
  moe::testing::check_tensor("student", student.data(), d.data(), d.size(), squared_loss, {}, report);
  EXPECT_TRUE(report);
}

}  // namespace literature_test
