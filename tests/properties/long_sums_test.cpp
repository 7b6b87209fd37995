// Sums over a million tokens are as exact in float as a few are: every part that adds up over tokens, in float and in
// double.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hygiene/headers.hpp"
#include "long_sums.hpp"

namespace moe {
namespace long_sums_test {

using namespace long_sums;

// ---- Experts: the gradients over all tokens are as many times those over one token of each kind.

template <class S, class X>
Tensors gradients_of_expert(const X& expert, Index tokens) {
  const Matrix<S> x = rows_of_kinds<S>(tokens, width, 1), dy = rows_of_kinds<S>(tokens, width, 2);
  Matrix<S> y(tokens, width), dx(tokens, width);
  typename X::Tape tape;
  X gradient = zeros_like(expert);
  expert.forward(x, y, tape);
  expert.backward(x, dy, tape, dx, gradient);
  Tensors tensors;
  tensors.add_parameters(gradient);
  return tensors;
}

template <class Make>
void expect_exact_expert(const std::string& what, const Make& make) {
  std::mt19937_64 generator{3};
  expect_same(what, gradients_of_expert<float>(drawn(make(float{}, generator)), many),
              gradients_of_expert<double>(drawn(make(double{}, generator)), kinds), static_cast<double>(many / kinds));
}

constexpr ExpertOptions all_options{.bias = true, .multiplier = true};

TEST(LongSums, GradientsOfExperts) {
  using Random = std::mt19937_64;
  expect_exact_expert("Linear", [](auto s, Random& r) { return Linear<decltype(s)>::random(width, width, r); });
  expect_exact_expert("Mlp",
                      [](auto s, Random& r) { return Mlp<decltype(s), Gelu>::random(width, hidden, r, all_options); });
  expect_exact_expert("Glu",
                      [](auto s, Random& r) { return SwiGlu<decltype(s)>::random(width, hidden, r, all_options); });
  expect_exact_expert("ClampedSwiGlu", [](auto s, Random& r) {
    return ClampedSwiGlu<decltype(s)>::random(width, hidden, r, all_options, {.alpha = 1.702, .limit = 7, .offset = 1});
  });
  expect_exact_expert("ConstantExpert",
                      [](auto s, Random& r) { return ConstantExpert<decltype(s)>::random(width, r); });
  expect_exact_expert("ConstantExpert without a mix", [](auto s, Random& r) {
    return ConstantExpert<decltype(s)>{random_matrix<decltype(s)>(width, 1, r)};
  });
  expect_exact_expert("VariantExpert", [](auto s, Random& r) {
    using X = VariantExpert<decltype(s), Mlp<decltype(s)>, Linear<decltype(s)>>;
    return X{Linear<decltype(s)>::random(width, width, r)};
  });
}

// ---- Layers: every router, gate and wrapper.

/// Of a pass in training. Parameters' gradients are multiplied by `share`.
template <class S, class L>
Tensors pass_of_layer(const L& layer, Index tokens, double share) {
  const Matrix<S> x = rows_of_kinds<S>(tokens, width, 1), dy = rows_of_kinds<S>(tokens, width, 2);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i) % kinds;
  Batch<S> batch{x};
  batch.ids = ids;
  typename L::Tape tape(std::uint64_t{4});
  Matrix<S> y(tokens, width), dx(tokens, width);
  L gradient = zeros_like(layer);
  layer.forward_into(batch, y, tape, Serial{});
  layer.backward_into(batch, dy, tape, dx, gradient, Serial{});
  Tensors tensors;
  tensors.add("y", Matrix<S>(y.topRows(kinds)));
  tensors.add("dx", Matrix<S>(dx.topRows(kinds)));
  for_each_parameter([&](std::string_view name, auto& g) { tensors.add(name, g, share); }, gradient);
  return tensors;
}

/// With `tokens` in float and `fewer` in double, of which the gradients of parameters are sums.
template <class Make>
void expect_exact_layer(const std::string& what, const Make& make, Index tokens = fewer,
                        Index tokens_in_double = fewer) {
  std::mt19937_64 generator{3};
  expect_same(what, pass_of_layer<float>(drawn(make(float{}, generator)), tokens, 1 / static_cast<double>(tokens)),
              pass_of_layer<double>(drawn(make(double{}, generator)), tokens_in_double,
                                    1 / static_cast<double>(tokens_in_double)));
}

template <class S, class R, class G>
auto layer_with(R router, G gate, std::mt19937_64& generator) {
  return Layer{std::move(router), std::move(gate), make_experts<Linear<S>>(experts, width, width, generator)};
}

template <class S>
Router<S> router_with_bias(std::mt19937_64& generator) {
  auto router = Router<S>::random(experts, width, generator);
  router.bias_E.setZero(experts);
  return router;
}

template <class Gate>
void expect_exact_gate(const std::string& what, const Gate& gate) {
  expect_exact_layer(what, [&](auto s, std::mt19937_64& generator) {
    using S = decltype(s);
    return layer_with<S>(router_with_bias<S>(generator), gate(s), generator);
  });
}

TEST(LongSums, GradientsOfRouters) {
  using Random = std::mt19937_64;
  expect_exact_layer(
      "Router",
      [](auto s, Random& r) { return layer_with<decltype(s)>(router_with_bias<decltype(s)>(r), Softmax{}, r); }, many,
      kinds);
  expect_exact_layer(
      "CosineRouter",
      [](auto s, Random& r) {
        return layer_with<decltype(s)>(CosineRouter<decltype(s)>::random(experts, width, 3, r), Softmax{}, r);
      },
      many, kinds);
  expect_exact_layer("NoRouter", [](auto s, Random& r) {
    return layer_with<decltype(s)>(NoRouter<decltype(s)>{experts}, Hash{{{0, 2, 1}}}, r);
  });
}

TEST(LongSums, GradientsOfWrappers) {
  using Random = std::mt19937_64;
  const auto layer = [](auto s, Random& r) {
    return layer_with<decltype(s)>(router_with_bias<decltype(s)>(r), Softmax{}, r);
  };
  expect_exact_layer("Shared, by a sigmoid", [&](auto s, Random& r) {
    using S = decltype(s);
    return Shared{layer(s, r), Linear<S>::random(width, width, r), SigmoidMix<S>::random(width, r, true)};
  });
  expect_exact_layer("Shared, by a softmax", [&](auto s, Random& r) {
    using S = decltype(s);
    return Shared{layer(s, r), Linear<S>::random(width, width, r), SoftmaxMix<S>::random(width, r, true)};
  });
  expect_exact_layer(
      "SoftLayer",
      [](auto s, Random& r) {
        using S = decltype(s);
        return SoftLayer<S, Linear<S>>::random(2, width, make_experts<Linear<S>>(2, width, width, r), r,
                                               {.normalize = true});
      },
      many, many);
}

TEST(LongSums, GradientsThroughGates) {
  const auto gates = [](const std::string& what, const auto& gate) {
    expect_exact_gate(what, [&](auto) { return gate; });
  };
  gates("TopK", TopK{.k = 2});
  gates("Switch", switch_top1());
  gates("ScoredTopK", ScoredTopK{.k = 2, .scores = Scores::sigmoid()});
  gates("TopP", TopP{.p = 0.5});
  gates("Threshold", Threshold{});
  gates("ReluRouting", ReluRouting{});
  gates("ExpertChoice", ExpertChoice{.factor = 1});
  expect_exact_layer("ExpertChoice over tokens", [](auto s, std::mt19937_64& r) {  // a bias would have no gradient
    const ExpertChoice gate{.factor = 1, .softmax_axis = ExpertChoice::Axis::tokens};
    return layer_with<decltype(s)>(Router<decltype(s)>::random(experts, width, r), gate, r);
  });
  gates("Sinkhorn", Sinkhorn{.k = 2});
  gates("Sinkhorn at another temperature", Sinkhorn{.k = 2, .temperature = 0.5});
  gates("BaseAssignment", BaseAssignment{});
  expect_exact_gate("VariantGate", [](auto s) { return VariantGate<decltype(s), TopK, TopP>{TopP{.p = 0.5}}; });
  gates("SparseMixer", SparseMixer{});
  gates("FixedNoise", FixedNoise{TopK{.k = 2}, 1});
  gates("GumbelNoise", GumbelNoise{TopK{.k = 2}});
  gates("VariableTopK", VariableTopK{std::vector<Index>(static_cast<std::size_t>(fewer), Index{2})});
  gates("Prioritized", Prioritized{TopK{.k = 2}});
  gates("NoTokenLeftBehind", NoTokenLeftBehind{});
  gates("OptionalChoices", OptionalChoices{});
  expect_exact_gate("LearnedNoise", [](auto s) { return NoisyTopK<decltype(s)>::zeros(experts, width, {.k = 2}); });
}

/// The types with a backward pass that the header names outside of namespace detail.
std::vector<std::string> parts_of(const hygiene::Header& header) {
  static const std::regex type{R"(^(?:struct|class) (\w+)[^;]*)"}, backward{R"( +(?:void|Matrix<S>) backward\(.*)"};
  std::vector<std::string> parts;
  std::string last;
  for (const std::string& line : header.lines) {
    std::smatch match;
    if (line.starts_with("namespace detail {") || line.starts_with("MOE_NAMESPACE_END")) last.clear();
    if (std::regex_match(line, match, type)) last = match[1];
    if (line.starts_with("}  // namespace detail")) last.clear();
    if (!last.empty() && std::regex_match(line, backward) && (parts.empty() || parts.back() != last))
      parts.push_back(last);
  }
  return parts;
}

TEST(LongSums, EveryPartIsAmongThese) {
  // These add up nothing, or are another part's under a name of their own.
  const std::set<std::string> others{"ZeroExpert",    "IdentityExpert", "LearnedMix", "Losses",    "Scores",
                                     "ChoiceWeights", "Division",       "Replay",     "Directions"};
  std::string tests;
  for (const char* name : {"long_sums_test.cpp", "long_sums_of_losses_test.cpp"}) {
    std::ifstream stream{std::filesystem::path{MOE_SOURCE_DIR} / "tests" / "properties" / name};
    tests.append(std::istreambuf_iterator<char>{stream}, {});
  }
  std::size_t parts = 0;
  for (const hygiene::Header& header : hygiene::headers()) {
    const std::string folder = header.name.substr(0, header.name.find('/'));
    if (!std::set<std::string>{"expert", "router", "gating", "loss", "objective"}.contains(folder)) continue;
    for (const std::string& part : parts_of(header)) {
      ++parts;
      if (others.contains(part)) continue;
      EXPECT_TRUE(std::regex_search(tests, std::regex{"\\b" + part + "\\b"})) << part << " of " << header.name;
    }
  }
  EXPECT_GE(parts, 40U);
}

}  // namespace long_sums_test
}  // namespace moe
