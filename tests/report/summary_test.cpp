#include "moe/report/summary.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "moe/moe.hpp"

namespace moe {
namespace summary_test {

template <class Value>
std::string printed(const Value& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

auto some_layer(std::mt19937_64& rng) {
  return Layer{Router<float>::random(4, 3, rng), TopK{.k = 2}, make_experts<Mlp<float>>(4, 3, 5, rng),
               Losses{RouterZLoss{}, LoadBalanceLoss{.coefficient = 0.5}}, Capacity::factor(1.25)};
}

TEST(Summary, ALayerIsItsPartsALineEach) {
  std::mt19937_64 rng(1);
  const auto layer = some_layer(rng);
  const std::string text = printed(layer);
  const std::string all = std::to_string(parameter_count(layer)), bytes = std::to_string(4 * parameter_count(layer));
  EXPECT_EQ(text.find("Layer of 4 experts: " + all + " parameters (" + bytes + " bytes)\n"), 0u) << text;
  EXPECT_NE(text.find("\n  router Router<float>, weight 4 x 3"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  gate TopK, k = 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  experts 0 to 3, each Mlp<float"), std::string::npos) << text;
  EXPECT_NE(text.find("w1 5 x 3"), std::string::npos) << text;
  const std::string each = std::to_string(parameter_count(layer.experts[0]));
  EXPECT_NE(text.find(": " + each + " parameters ("), std::string::npos) << text;
  EXPECT_NE(text.find("\n  loss load_balance, coefficient 0.5\n"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 7) << text;
  EXPECT_NE(text.find("\n  capacity factor 1.25\n  loss"), std::string::npos) << text;
  EXPECT_EQ(text.find("moe::"), std::string::npos) << text;
}

TEST(Summary, OptionsThatAreNotTheDefaultAreShown) {
  std::mt19937_64 rng(1);
  auto layer = some_layer(rng);
  layer.dispatching = Capacity::gshard(2).at_inference(Capacity::unlimited());
  layer.dispatching.pass_dropped = layer.dispatching.renormalize_kept = true;
  layer.dispatching.non_finite = NonFinite::refuse;
  EXPECT_NE(
      printed(layer).find("\n  capacity factor 2 (whatever k, rounded down, at least 4 slots, a multiple of 4), at "
                          "inference unlimited, renormalize_kept, pass_dropped, non_finite refuse\n"),
      std::string::npos)
      << printed(layer);
  layer.dispatching = {};
  EXPECT_NE(printed(layer).find("\n  capacity unlimited\n"), std::string::npos) << printed(layer);
}

template <class G>
std::string gate_line(const G& gate) {
  std::mt19937_64 rng(1);
  const std::string text =
      printed(Layer{Router<float>::random(8, 3, rng), gate, make_experts<Mlp<float>>(8, 3, 5, rng)});
  const auto begin = text.find("\n  gate ") + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

TEST(Summary, TheChoicesOfAGateInsideAnotherAreShown) {
  EXPECT_NE(gate_line(FixedNoise{Prioritized{ScoredTopK{.k = 3}}, 1.0}).find(", k = 3"), std::string::npos);
  EXPECT_NE(gate_line(NoisyTopK<float>{TopK{.k = 4}, Matrix<float>::Zero(8, 3)}).find(", k = 4"), std::string::npos);
  EXPECT_NE(gate_line(OptionalChoices{}).find(", k = 2"), std::string::npos);
  EXPECT_EQ(gate_line(ExpertChoice{}).find(", k = "), std::string::npos);
}

TEST(Summary, ExpertsThatDifferHaveLinesOfTheirOwn) {
  std::mt19937_64 rng(1);
  using One = VariantExpert<double, Mlp<double>, ZeroExpert<double>>;
  const std::vector<One> experts{ZeroExpert<double>{}, Mlp<double>::random(3, 4, rng), Mlp<double>::random(3, 4, rng),
                                 Mlp<double>::random(3, 5, rng)};
  const std::string text = printed(Layer{Router<double>::random(4, 3, rng), TopK{.k = 2}, experts});
  EXPECT_NE(text.find("\n  experts 0 ZeroExpert<double>\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  experts 1 to 2, each Mlp<double"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  experts 3 Mlp<double"), std::string::npos) << text;
}

TEST(Summary, ALongListIsCut) {
  std::mt19937_64 rng(1);
  std::vector<Mlp<float>> experts;
  for (Index e = 0; e < 20; ++e) experts.push_back(Mlp<float>::random(3, e + 1, rng));
  const std::string text = printed(Layer{Router<float>::random(20, 3, rng), TopK{.k = 2}, experts});
  EXPECT_NE(text.find("\n  experts 7 "), std::string::npos) << text;
  EXPECT_NE(text.find("\n  and 12 more experts\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("experts 8 "), std::string::npos) << text;
}

TEST(Summary, SharedAndSoftLayersAndLayersOfLayersToo) {
  std::mt19937_64 rng(1);
  const auto layer = some_layer(rng);
  const Shared shared{layer, Mlp<float>::random(3, 5, rng), SigmoidMix<float>::random(3, rng)};
  const std::string text = printed(shared);
  EXPECT_EQ(text.find("Shared: " + std::to_string(parameter_count(shared)) + " parameters"), 0u) << text;
  EXPECT_NE(text.find("\n  layer Layer of 4 experts"), std::string::npos) << text;
  EXPECT_NE(text.find("\n    router Router<float>"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  expert Mlp<float"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  mix "), std::string::npos) << text;

  const SoftLayer<float, Mlp<float>> soft{Matrix<float>::Ones(8, 3), make_experts<Mlp<float>>(4, 3, 5, rng)};
  EXPECT_EQ(printed(soft).find("SoftLayer of 4 experts, slots 8 x 3: "), 0u) << printed(soft);

  const Layer outer{Router<float>::random(2, 3, rng), TopK{.k = 1, .weights = ChoiceWeights::probabilities()},
                    std::vector{layer, layer}};
  EXPECT_NE(printed(outer).find("\n  experts 0 to 1, each Layer of 4 experts"), std::string::npos) << printed(outer);
  EXPECT_NE(printed(outer).find("\n    experts 0 to 3, each Mlp<float"), std::string::npos) << printed(outer);
}

/// A model of a user's own.
struct Model {
  decltype(some_layer(std::declval<std::mt19937_64&>())) moe;
  std::vector<Linear<float>> blocks;
  Matrix<float> head;
  std::vector<Index> codes;

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("moe", f, self.moe...);
    visit_list("blocks", f, self.blocks...);
    f("head", self.head...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_part_buffers("moe", f, self.moe...);
    visit_numbers("codes", f, self.codes...);
  }
};

Model some_model() {
  std::mt19937_64 rng(1);
  return {some_layer(rng),
          {Linear<float>::random(3, 3, rng), Linear<float>::random(3, 3, rng), Linear<float>::random(2, 3, rng)},
          Matrix<float>::Zero(10, 3),
          {1, 2, 3}};
}

TEST(Summary, OfAnyModelThatNamesItsParameters) {
  const Model model = some_model();
  const Summary s = summary(model);
  EXPECT_EQ(s.parameters, parameter_count(model));
  EXPECT_EQ(s.bytes, 4 * parameter_count(model));
  EXPECT_EQ(s.buffers, 3);
  EXPECT_EQ(s.buffer_bytes, 24);
  const std::string text = printed(s);
  EXPECT_EQ(text, s.text);
  EXPECT_EQ(text.find("summary_test::Model, head 10 x 3: " + std::to_string(s.parameters) + " parameters (" +
                      std::to_string(s.bytes) + " bytes), buffers of 24 bytes\n"),
            0u)
      << text;
  EXPECT_NE(text.find("\n  moe Layer of 4 experts: "), std::string::npos) << text;
  EXPECT_NE(text.find("\n    experts 0 to 3, each Mlp<float"), std::string::npos) << text;
  EXPECT_NE(text.find("\n    loss load_balance, coefficient 0.5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  blocks 0 to 1, each Linear<float>, weight 3 x 3, bias 3: 12 parameters (48 bytes)\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\n  blocks 2 Linear<float>, weight 3 x 2"), std::string::npos) << text;
}

TEST(Summary, OfAListOfLayersAndOfAnExpert) {
  std::mt19937_64 rng(1);
  const auto layer = some_layer(rng);
  const Summary s = summary(std::vector{layer, layer});
  EXPECT_EQ(s.parameters, 2 * parameter_count(layer));
  EXPECT_EQ(s.text.find("list of 2: " + std::to_string(s.parameters) + " parameters ("), 0u) << s.text;
  EXPECT_NE(s.text.find("\n  part 0 to 1, each Layer of 4 experts: "), std::string::npos) << s.text;
  EXPECT_NE(s.text.find("\n    router Router<float>"), std::string::npos) << s.text;
  EXPECT_EQ(summary(layer.experts[0]).text.find("Mlp<float"), 0u);
}

TEST(Summary, TablesAreBuffers) {
  std::mt19937_64 rng(1);
  const Layer layer{NoRouter<float>{4}, Hash::random(10, 4, rng), make_experts<Mlp<float>>(4, 3, 5, rng)};
  EXPECT_NE(printed(layer).find("\n  gate Hash: buffers of 80 bytes\n"), std::string::npos) << printed(layer);
  EXPECT_EQ(summary(layer).buffers, 10);
}

}  // namespace summary_test
}  // namespace moe
