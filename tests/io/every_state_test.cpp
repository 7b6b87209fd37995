// Whatever decides outputs and is not in the program's text is in the file: a layer of any parts that was made from
// another seed computes, after loading, what the saved one does, to the bit, or the file is refused.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "moe/io/model_file.hpp"
#include "moe/moe.hpp"
#include "support/bits.hpp"
#include "support/matrices.hpp"
#include "temporary_folder.hpp"

namespace moe {
namespace every_state_test {

constexpr Index tokens = 12, experts = 4, width = 5, hidden = 3, ids = 7;

struct Inputs {
  Matrix<float> x_TD = support::random_matrix<float>(tokens, width, 100);
  std::vector<std::int64_t> id_of_token;

  Inputs() {
    for (Index t = 0; t < tokens; ++t) id_of_token.push_back(t % ids);
  }
  Batch<float> batch() const {
    Batch<float> all = x_TD;
    all.ids = id_of_token;
    return all;
  }
};

/// The outputs and, where there is one, the auxiliary loss, without and with noise.
template <class SomeLayer>
Matrix<float> outputs_of(const SomeLayer& layer) {
  const Inputs inputs;
  const Batch<float> batch = inputs.batch();
  typename SomeLayer::Tape tape;
  Matrix<float> y = layer.forward(batch, tape, Serial{});
  if constexpr (requires { tape.random; }) {
    tape.random = Random(3);
    const Matrix<float> noisy = layer.forward(batch, tape, Serial{});
    y.conservativeResize(2 * tokens, Eigen::NoChange);
    y.bottomRows(tokens) = noisy;
  }
  return y;
}

/// make(generator): a layer.
template <class Make>
void expect_kept(const std::string& what, Make&& make) {
  const TemporaryFolder folder;
  std::mt19937_64 one{1}, two{2};
  const auto saved = make(one);
  auto loaded = make(two);
  const Matrix<float> expected = outputs_of(saved);
  ASSERT_FALSE(support::same_bits(expected, outputs_of(loaded))) << what << ": nothing depends on the seed";
  io::save(folder / "layer", saved);
  io::load(folder / "layer", loaded);
  EXPECT_TRUE(support::same_bits(expected, outputs_of(loaded))) << what;
}

/// The router is the same for all, so that what a gate keeps decides. make_gate(generator): a gate.
template <class MakeGate>
void expect_gate_kept(const std::string& what, MakeGate&& make_gate, bool same_router = true) {
  expect_kept(what, [&](auto& generator) {
    std::mt19937_64 same{7};
    const auto bag = make_experts<SwiGlu<float>>(experts, width, hidden, same);
    auto router = Router<float>::random(experts, width, same);
    auto gate = make_gate(generator);
    if (!same_router) router = Router<float>::random(experts, width, generator);
    return Layer{router, gate, bag};
  });
}

template <class Generator>
Hash hash(Generator& generator) {
  Hash gate = Hash::random(ids, experts, generator);
  gate.tables.push_back(Hash::random(ids, experts, generator).tables.front());
  return gate;
}

template <class Generator>
ScoredTopK biased(Generator& generator) {
  ScoredTopK gate{.k = 2};
  gate.selection_bias_E = random_matrix<double>(experts, 1, generator);
  return gate;
}

template <class Generator>
Replay<float> record(Generator& generator) {
  Replay<float> gate;
  for (Index t = 0; t < tokens; ++t)
    for (int rank = 0; rank < 2; ++rank)
      gate.choices.push_back({t, detail::random_index(generator, Index{2}) + 2 * rank,
                              static_cast<float>(1 + detail::random_index(generator, Index{9})), rank,
                              detail::random_index(generator, Index{4}) == 0 ? Fate::unsent : Fate::sent});
  return gate;
}

TEST(ModelFile, KeepsWhatAGateDecidesBy) {
  expect_gate_kept("Hash", [](auto& rng) { return hash(rng); });
  expect_gate_kept("Hash, weighed", [](auto& rng) {
    Hash gate = hash(rng);
    gate.weights = ChoiceWeights::renormalized();
    return gate;
  });
  expect_gate_kept("ScoredTopK", [](auto& rng) { return biased(rng); });
  expect_gate_kept("Replay", [](auto& rng) { return record(rng); });
  expect_gate_kept("NoisyTopK", [](auto& rng) {
    return NoisyTopK<float>{{.k = 2}, random_matrix<float>(experts, width, rng)};
  });
}

TEST(ModelFile, KeepsWhatAGateAroundAnotherDecidesBy) {
  expect_gate_kept("FixedNoise", [](auto& rng) { return FixedNoise{biased(rng), 0.5}; });
  expect_gate_kept("GumbelNoise", [](auto& rng) { return GumbelNoise<ScoredTopK>{biased(rng)}; });
  expect_gate_kept("LearnedNoise", [](auto& rng) {
    return LearnedNoise<float, ScoredTopK>{biased(rng), Matrix<float>::Zero(experts, width)};
  });
  expect_gate_kept("Prioritized", [](auto& rng) { return Prioritized{hash(rng), Priority::best_weight}; });
  expect_gate_kept("VariantGate",
                   [](auto& rng) { return VariantGate<float, TopK, Hash, ScoredTopK>{Hash(hash(rng))}; });
}

TEST(ModelFile, KeepsTheRouterOfGatesWithoutState) {
  const auto expect = [](const std::string& what, const auto& gate) {
    expect_gate_kept(
        what, [&](auto&) { return gate; }, false);
  };
  expect("TopK", TopK{.k = 2});
  expect("switch_top1", switch_top1());
  expect("Softmax", Softmax{});
  expect("TopP", TopP{});
  expect("Threshold", Threshold{});
  expect("ExpertChoice", ExpertChoice{});
  expect("Sinkhorn", Sinkhorn{.k = 1});
  expect("BaseAssignment", BaseAssignment{});
  expect("SparseMixer", SparseMixer{});
  expect("OptionalChoices", gshard_top2());
  expect("NoTokenLeftBehind", NoTokenLeftBehind{});
}

TEST(ModelFile, KeepsOtherRouters) {
  const auto bag = [] {
    std::mt19937_64 same{7};
    return make_experts<SwiGlu<float>>(experts, width, hidden, same);
  }();
  expect_kept("CosineRouter", [&](auto& rng) {
    auto router = CosineRouter<float>::random(experts, width, 3, rng);
    router.log_scale(0) = static_cast<float>(detail::random_index(rng, Index{1000})) / 1000;
    return Layer{router, Softmax{}, bag};
  });
  expect_kept("NoRouter", [&](auto& rng) { return Layer{NoRouter<float>{experts}, hash(rng), bag}; });
}

TEST(ModelFile, KeepsBuffersOfInnerLayers) {
  const auto inner = [](auto& rng) {
    std::mt19937_64 same{7};
    const auto bag = make_experts<SwiGlu<float>>(experts, width, hidden, same);
    return Layer{Router<float>::random(experts, width, same), biased(rng), bag};
  };
  std::mt19937_64 same{8};
  const auto outer_router = Router<float>::random(2, width, same);
  const auto shared_expert = SwiGlu<float>::random(width, hidden, same);
  const auto mix = SigmoidMix<float>::random(width, same);
  const auto slots = random_matrix<float>(4, width, same);
  expect_kept("Layer of layers", [&](auto& rng) {
    return Layer{outer_router, TopK{.k = 2}, std::vector{inner(rng), inner(rng)}};
  });
  expect_kept("Shared, the layer", [&](auto& rng) { return Shared{inner(rng), shared_expert, mix}; });
  expect_kept("Shared, the expert", [&](auto& rng) {
    std::mt19937_64 fixed{9};
    return Shared{inner(fixed), inner(rng), mix};
  });
  expect_kept("SoftLayer", [&](auto& rng) {
    using Inner = decltype(inner(rng));
    return SoftLayer<float, Inner>{slots, std::vector{inner(rng), inner(rng)}};
  });
  expect_kept("VariantExpert", [&](auto& rng) {
    using Any = VariantExpert<float, SwiGlu<float>, decltype(inner(rng))>;
    return Layer{outer_router, TopK{.k = 2}, std::vector<Any>{Any{inner(rng)}, Any{SwiGlu<float>(shared_expert)}}};
  });
}

TEST(ModelFile, KeepsATableThatSurgeryDealtAnew) {
  expect_gate_kept("Hash", [](auto& rng) {
    std::mt19937_64 same{7};
    Layer layer{Router<float>::random(experts + 1, width, same), Hash::random(ids, experts + 1, rng),
                make_experts<SwiGlu<float>>(experts + 1, width, hidden, same)};
    remove_expert(layer, 2);
    return layer.gate;
  });
}

template <class SomeLayer>
std::string load_error(const std::filesystem::path& path, SomeLayer layer) {
  const Matrix<float> before = outputs_of(layer);
  const std::string message = message_of<io::FileError>([&] { io::load(path, layer); });
  EXPECT_TRUE(support::same_bits(before, outputs_of(layer)));
  return message;
}

TEST(ModelFile, RefusesAnotherAlternative) {
  const TemporaryFolder folder;
  std::mt19937_64 rng{1};
  const auto router = Router<float>::random(2, width, rng);
  using AnyGate = VariantGate<float, TopK, ExpertChoice>;
  const auto bag = make_experts<SwiGlu<float>>(2, width, hidden, rng);
  io::save(folder / "gate", Layer{router, AnyGate{ExpertChoice{}}, bag});
  EXPECT_NE(load_error(folder / "gate", Layer{router, AnyGate{TopK{.k = 2}}, bag})
                .find("'gate.alternative': 1 in the file, 0 in the model, and a file cannot change it"),
            std::string::npos);
  EXPECT_EQ(load_error(folder / "gate", Layer{router, AnyGate{ExpertChoice{}}, bag}), "");

  using AnyExpert = VariantExpert<float, Mlp<float, Relu>, Mlp<float, Gelu>>;  // of the same names and shapes
  const std::vector<AnyExpert> some{Mlp<float, Relu>::random(width, hidden, rng),
                                    Mlp<float, Gelu>::random(width, hidden, rng)};
  const std::vector<AnyExpert> others{some[1], some[0]};
  io::save(folder / "expert", Layer{router, TopK{.k = 2}, some});
  const std::string message = load_error(folder / "expert", Layer{router, TopK{.k = 2}, others});
  EXPECT_NE(message.find("'experts.0.alternative': 0 in the file, 1 in the model"), std::string::npos) << message;
  EXPECT_NE(message.find("'experts.1.alternative': 1 in the file, 0 in the model"), std::string::npos) << message;
}

TEST(ModelFile, RefusesAFileWithoutTheTable) {
  const TemporaryFolder folder;
  std::mt19937_64 rng{1};
  const Layer layer{NoRouter<float>{experts}, Hash::random(ids, experts, rng),
                    make_experts<SwiGlu<float>>(experts, width, hidden, rng)};
  io::SafetensorsWriter writer;
  for_each_parameter([&](std::string_view name, const auto& values) { writer.add(std::string(name), values.matrix()); },
                     layer);
  writer.write(folder / "layer");
  EXPECT_NE(load_error(folder / "layer", layer).find("'gate.tables.0': missing in the file, I64 [7] in the model"),
            std::string::npos);
  auto loaded = layer;
  io::load(folder / "layer", loaded, {.keep = {"gate.tables"}});
}

TEST(ModelFile, KeepsAnOptimisersSteps) {
  const TemporaryFolder folder;
  std::mt19937_64 rng{1};
  const auto start = Linear<float>::random(width, width, rng), gradient = Linear<float>::random(width, width, rng);
  const auto expect = [&](auto saved, auto loaded) {
    auto model = start;
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(saved.step(model, gradient));
    auto resumed = model;
    io::save(folder / "optimiser", saved);
    io::load(folder / "optimiser", loaded);
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(saved.step(model, gradient) && loaded.step(resumed, gradient));
    EXPECT_TRUE(support::same_parameters(model, resumed));
  };
  expect(AdamW{start}, AdamW{start});
  expect(Sgd{start, {.momentum = 0.9}}, Sgd{start, {.momentum = 0.9}});
}

}  // namespace every_state_test
}  // namespace moe
