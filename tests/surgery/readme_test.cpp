// All code of the tables in include/moe/surgery/README.md compiles and runs, each piece on a layer of its own.
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "support/code_of_tables.hpp"

namespace moe {
namespace surgery_readme_test {

constexpr Index T = 12, D = 4, F = 6;

using X = SwiGlu<float>;
using SomeLayer = Layer<Router<float>, TopK, X>;

/// What the code of the tables may name.
struct Scene {
  std::mt19937_64 rng{1};
  Matrix<float> x = random_matrix<float>(T, D, rng);
  SomeLayer layer{Router<float>::random(4, D, rng), TopK{.k = 2}, make_experts<X>(4, D, F, rng)};
  AdamW<SomeLayer> adam{layer, {}};
  SomeLayer::Tape tape{7};
  X dense = X::random(D, F, rng), dense_gradient = X::random(D, F, rng);
  Vector<float> importance_F = Vector<float>::Ones(F);

  Scene() { train(); }

  void train() {
    auto gradient = zeros_like(layer);
    const Matrix<float> y = layer.forward(x, tape);
    layer.backward(x, y, tape, gradient);
    EXPECT_TRUE(adam.step(layer, gradient));
    EXPECT_TRUE(layer.forward(x).allFinite());
  }
};

/// A code's own result may be a layer.
template <class Value>
void look_at(const Scene& scene, const Value& value) {
  if constexpr (requires { value.forward(scene.x); }) {
    EXPECT_TRUE(value.forward(scene.x).allFinite());
  }
}

/// So that code without a value can be run too: `code, Done{}` is the code's value, or this.
struct Done {};
template <class Value>
Value&& operator,(Value&& value, Done) {
  return std::forward<Value>(value);
}

struct Code {
  std::string text;
  std::function<void(Scene&)> run;
};

#define MOE_CODE(...)                                                                                          \
  Code {                                                                                                       \
#__VA_ARGS__, [](Scene& scene) {                                                                             \
      [[maybe_unused]] auto& [rng, x, layer, adam, tape, dense, dense_gradient, importance_F] = scene;           \
      look_at(scene, (__VA_ARGS__, Done{}));                                                                     \
    } \
  }

const std::vector<Code>& all_code() {
  static const std::vector<Code> all{
      MOE_CODE(add_experts(layer, Router<float>::zeros(4, D), make_experts<X>(4, D, F, rng), adam)),
      MOE_CODE(adam.frozen = Frozen::all_but(expert_parameters(layer, {2, 3}))),
      MOE_CODE(remove_expert(layer, 3, adam)),
      MOE_CODE(keep_experts(layer, {0, 2, 3}, adam)),
      MOE_CODE(prune_by_load(layer, load_of(tape.plan), 3, adam)),
      MOE_CODE(split_expert(layer, most_loaded_experts(load_of(tape.plan), 1).front(), {.halve_mass = false}, adam)),
      MOE_CODE(add_noise(layer.experts[1], 0.01, rng)),
      MOE_CODE(merge_experts(layer, 0, 1, {.share = 0.5}, adam)),
      MOE_CODE(permute_experts(layer, {3, 2, 1, 0}, adam)),
      MOE_CODE(rearrange_experts(layer, ExpertSources{4, {{{0}}, {{1, 0.5}, {2, 0.5}}}}, adam)),
      MOE_CODE(ExpertSources::all(4)),
      MOE_CODE(ExpertSources::copies(4, {0, 2, 2})),
      MOE_CODE(ExpertSources{4, {{{0, 0.25}, {3, 0.75}}}}),
      MOE_CODE(ExpertSources{4, {{{0}}, {}}}.count()),
      MOE_CODE(Layer{Router<float>::zeros(4, D), TopK{.k = 2}, upcycle(dense, 4)}),
      MOE_CODE(
          Layer{repeat_rows(Router<float>::random(4, D, rng), 2), TopK{.k = 2}, upcycle(dense, 4, {.granularity = 2})}),
      MOE_CODE(add_neuron_importance(dense, dense_gradient, importance_F)),
      MOE_CODE(split_network(dense, split_by_importance(order_by_importance(importance_F), 2, 1, 3))),
      MOE_CODE(select_units(dense, {0, 2, 3})),
  };
  return all;
}

#undef MOE_CODE

TEST(SurgeryReadme, HasTheCodeThatIsRunHere) {
  std::vector<std::string> tested;
  for (const Code& code : all_code()) tested.push_back(code.text);
  support::expect_code_of_tables("include/moe/surgery/README.md", tested);
}

TEST(SurgeryReadme, AllItsCodeRunsAndTrainingGoesOn) {
  for (const Code& code : all_code()) {
    SCOPED_TRACE(code.text);
    Scene scene;
    EXPECT_NO_THROW(code.run(scene));
    scene.train();
  }
}

TEST(SurgeryReadme, UpcycledLayersComputeWhatTheNetworkDid) {
  Scene scene;
  auto& rng = scene.rng;
  X::Tape tape;
  Matrix<float> expected(T, D);
  scene.dense.forward(scene.x, expected, tape);
  const Layer whole{Router<float>::zeros(4, D), TopK{.k = 2}, upcycle(scene.dense, 4)};
  const Layer slices{repeat_rows(Router<float>::random(4, D, rng), 2), TopK{.k = 2},
                     upcycle(scene.dense, 4, {.granularity = 2})};
  EXPECT_TRUE(whole.forward(scene.x).isApprox(expected, 1e-5f));
  EXPECT_TRUE(slices.forward(scene.x).isApprox(expected, 1e-5f));
}

}  // namespace surgery_readme_test
}  // namespace moe
