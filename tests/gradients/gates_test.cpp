// The other gates, training passes with noise, padding, groups, nested layers and the corners of capacity.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "check_case.hpp"

namespace gradients {
namespace gates_test {

using moe::ChoiceWeights;
using Mlp = moe::Mlp<double, moe::Silu>;
using Glu = moe::Glu<double, moe::Gelu>;

/// A layer of `experts` experts X with this gate, and all the losses.
template <class X, class G, class L>
auto layer_of(std::mt19937_64& rng, Index experts, G gate, L losses, const Setting& setting, double jitter = 0) {
  auto router = support::random_router(experts, width, rng);
  router.jitter = jitter;
  return moe::Layer{std::move(router), std::move(gate), support::random_experts<X>(experts, width, hidden, rng),
                    std::move(losses), setting.room.capacity()};
}

/// Token-choice gates: k = 2 of 4, or of 2, and k = 1.
constexpr std::array top_k_gates{
    std::pair{Index{4}, moe::TopK{.k = 2}},
    std::pair{Index{5}, moe::TopK{.k = 2, .weights = ChoiceWeights::renormalized({.epsilon = 0.01})}},
    std::pair{Index{3}, moe::TopK{.k = 2, .weights = ChoiceWeights::probabilities()}},
    std::pair{Index{4}, moe::switch_top1()},
    std::pair{Index{2}, moe::TopK{.k = 2}},
    std::pair{Index{1}, moe::TopK{.k = 1}},
};

/// Sizes, padding and capacity that every gate goes through.
std::vector<Setting> settings(bool with_seed) {
  const std::optional<std::uint64_t> seed = with_seed ? std::optional<std::uint64_t>(77) : std::nullopt;
  return {
      {.tokens = 1, .tape_seed = seed},
      {.tokens = 9, .tape_seed = seed},
      {.tokens = 9, .room = {.factor = 0.6}, .tape_seed = seed},
      {.tokens = 8, .room = {.factor = 0.8}, .valid = {1, 0, 1, 1, 1, 0, 0, 1}, .tape_seed = seed},
      {.tokens = 9, .room = {.factor = 0.7}, .valid = {1, 1, 1, 1, 0, 1, 0, 0, 0}, .group_size = 3, .tape_seed = seed},
  };
}

TEST(GradientGrid, Padding) {
  Summary summary("top-k with padding and groups");
  for (const auto& [experts, gate] : top_k_gates)
    for (const Setting& setting : settings(false))
      check_case(summary, "padding", setting, [&, e = experts, g = gate](std::mt19937_64& rng) {
        return layer_of<Mlp>(rng, e, g, all_losses(summary.cases), setting);
      });
}

TEST(GradientGrid, NoisyTopK) {
  Summary summary("noisy top-k");
  for (const bool training : {true, false})
    for (const auto& [experts, top_k] : top_k_gates)
      for (const Setting& setting : settings(training))
        check_case(summary, "noisy top-k", setting, [&, e = experts, k = top_k](std::mt19937_64& rng) {
          const auto gate = support::randomized(moe::NoisyTopK<double>::zeros(e, width, k), rng);
          return layer_of<Mlp>(rng, e, gate, all_losses(summary.cases), setting);
        });
}

TEST(GradientGrid, FixedNoise) {
  Summary summary("fixed noise");
  for (const auto& [experts, top_k] : top_k_gates)
    for (const Setting& setting : settings(true))
      check_case(summary, "fixed noise", setting, [&, e = experts, k = top_k](std::mt19937_64& rng) {
        return layer_of<Glu>(rng, e, moe::FixedNoise{k, 2.5}, all_losses(summary.cases), setting);
      });
}

TEST(GradientGrid, Jitter) {
  Summary summary("jitter");
  for (const auto& [experts, gate] : top_k_gates)
    for (const Setting& setting : settings(true))
      check_case(summary, "jitter", setting, [&, e = experts, g = gate](std::mt19937_64& rng) {
        return layer_of<Glu>(rng, e, g, all_losses(summary.cases), setting, 0.3);
      });
}

TEST(GradientGrid, JitterAndNoise) {
  Summary summary("jitter and noise");
  for (const Setting& setting : settings(true))
    check_case(summary, "jitter and noise", setting, [&](std::mt19937_64& rng) {
      const auto gate = support::randomized(moe::NoisyTopK<double>::zeros(4, width, {.k = 2}), rng);
      return layer_of<Mlp>(rng, 4, gate, all_losses(summary.cases), setting, 0.3);
    });
}

TEST(GradientGrid, ExpertChoice) {
  using moe::Rounding;
  Summary summary("expert choice");
  for (const Index experts : {1, 3, 4})
    for (const auto rounding : {Rounding::down, Rounding::up, Rounding::nearest})
      for (const Setting& setting : settings(false))
        check_case(summary, "expert choice", setting, [&](std::mt19937_64& rng) {
          const moe::ExpertChoice gate{.factor = experts == 1 ? 0.5 : 1.7, .rounding = rounding};
          const auto all = all_losses(summary.cases).all;  // without the load loss, which needs a fixed k
          return layer_of<Mlp>(rng, experts, gate, moe::Losses{std::get<0>(all), std::get<2>(all), std::get<3>(all)},
                               setting);
        });
}

TEST(GradientGrid, Dense) {
  Summary summary("dense softmax");
  for (const Index experts : {1, 2, 8})
    for (const Setting& setting : settings(false))
      check_case(summary, "dense", setting, [&](std::mt19937_64& rng) {
        return layer_of<Glu>(rng, experts, moe::Softmax{}, all_losses(summary.cases), setting);
      });
}

TEST(GradientGrid, Hash) {
  Summary summary("hash");
  for (Setting setting : settings(false)) {
    for (Index t = 0; t < setting.tokens; ++t) setting.ids.push_back(t % 6);
    check_case(summary, "hash", setting, [&](std::mt19937_64& rng) {
      return moe::Layer{moe::NoRouter<double>{4}, moe::Hash{{{0, 2, 1, 1, 0, 0}}},
                        support::random_experts<Mlp>(4, width, hidden, rng),
                        moe::Losses{moe::LoadBalanceLoss{}, moe::ImportanceLoss{}}, setting.room.capacity()};
    });
  }
}

TEST(GradientGrid, LayerOfLayers) {
  Summary summary("layer of layers");
  for (const bool training : {true, false})
    for (const Setting& setting : settings(training))
      for (const bool noisy_inside : {true, false})
        check_case(summary, "layer of layers", setting, [&](std::mt19937_64& rng) {
          const auto inner = [&] {
            auto gate = moe::NoisyTopK<double>::zeros(3, width, {.k = 2});
            if (noisy_inside) gate = support::randomized(gate, rng);
            return layer_of<Mlp>(rng, 3, gate, all_losses(summary.cases), Setting{});
          };
          const std::vector experts{inner(), inner(), inner()};
          return moe::Layer{support::random_router(3, width, rng), moe::TopK{.k = 2}, experts,
                            all_losses(summary.cases + 1), setting.room.capacity()};
        });
}

TEST(GradientGrid, CornersOfCapacity) {
  Summary summary("corners of capacity");
  for (const Index slots : {0, 1, 2, 100}) {
    const Setting setting{.tokens = 6, .room = {.exactly = slots}};
    check_case(summary, "exactly " + std::to_string(slots), setting, [&](std::mt19937_64& rng) {
      return layer_of<Mlp>(rng, 3, moe::TopK{.k = 2}, all_losses(slots), setting);
    });
  }
}

/// Experts whose output is not as wide as the tokens, in a batch without tokens, and of padding alone.
TEST(GradientGrid, OutputWidthAndEmptyBatches) {
  Summary summary("output width and empty batches");
  for (const Setting& setting :
       {Setting{.tokens = 5}, Setting{.tokens = 3, .valid = {0, 0, 0}}, Setting{.tokens = 0}, Setting{.tokens = 1}})
    check_case(summary, "linear experts", setting, [&](std::mt19937_64& rng) {
      return moe::Layer{support::random_router(3, width, rng), moe::TopK{.k = 2},
                        support::random_experts<moe::Linear<double>>(3, width, 2, rng), all_losses(0)};
    });
}

}  // namespace gates_test
}  // namespace gradients
