// What does it cost to decide? Two tables from one run:
//   route/<gate>/E   each gate of the library alone, without the router's product: T = 4096 tokens, one thread, with a
//                    generator as in training (the gates that draw numbers spend most of their time on that);
//   share/<layer>    gate + plan + dispatch + combine of one layer, in percent of the time of its experts' products.
#include <moe/moe.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

#include "support/data.hpp"
#include "support/roofline.hpp"

namespace {

using moe::ChoiceWeights;
using moe::Index;
using moe::TopK;

constexpr Index tokens = 4096, width = 64;

template <class MakeGate>
void route(benchmark::State& state, MakeGate make_gate) {
  const Index experts = state.range(0);
  const auto gate = make_gate(experts);
  const moe::Matrix<float> x_TD = bench::random_tokens(tokens, width);
  moe::Batch<float> batch(x_TD);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(tokens));
  for (std::size_t t = 0; t < ids.size(); ++t) ids[t] = static_cast<std::int64_t>(t % 1000);
  batch.ids = ids;
  moe::Routing<float> routing = bench::random_routing(batch, experts);
  moe::Random random(1);
  for (auto _ : state) {
    routing.choices.clear();
    gate.route(batch, routing, &random);
    benchmark::DoNotOptimize(routing.choices.data());
  }
  bench::report(state, static_cast<double>(tokens), 0);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgName("E")->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (const Index experts : {8, 64, 256, 1024}) b->Arg(experts);
}

std::mt19937_64 rng(3);
const TopK top2{.k = 2}, top2_of_all{.k = 2, .weights = ChoiceWeights::probabilities};

/// The same gate for any number of experts.
template <class G>
auto always(const G& gate) {
  return [gate](Index) { return gate; };
}

moe::Hash multi_hash(Index experts) {
  moe::Hash hash = moe::Hash::random(1000, experts, rng);
  hash.tables.push_back(moe::Hash::random(1000, experts, rng).tables[0]);
  return hash;
}

std::vector<Index> one_to_four() {
  std::vector<Index> k_T;
  for (Index t = 0; t < tokens; ++t) k_T.push_back(1 + t % 4);
  return k_T;
}

#define MOE_BENCH_GATE(name, ...) BENCHMARK_CAPTURE(route, name, __VA_ARGS__)->Apply(sizes)

MOE_BENCH_GATE(softmax, always(moe::Softmax{}));
MOE_BENCH_GATE(switch_top1, always(moe::switch_top1()));
MOE_BENCH_GATE(top2, always(top2));
MOE_BENCH_GATE(top8, always(TopK{.k = 8}));
MOE_BENCH_GATE(top8_renormalized, always(TopK{.k = 8, .weights = ChoiceWeights::renormalized}));
MOE_BENCH_GATE(variable_top_k, always(moe::VariableTopK{.k_T = one_to_four()}));
MOE_BENCH_GATE(top_p, always(moe::TopP{.p = 0.5, .most = 8}));
MOE_BENCH_GATE(threshold, always(moe::Threshold{.threshold = 0.9}));
MOE_BENCH_GATE(gshard_top2, always(moe::gshard_top2()));
MOE_BENCH_GATE(st_moe_top3, always(moe::st_moe_top_n(3)));
MOE_BENCH_GATE(deepseek_v3, [](Index e) {
  return moe::ScoredTopK{
      .k = 8, .selection_bias_E = moe::Vector<double>::Zero(e), .groups = e > 8 ? 8 : 1, .groups_used = e > 8 ? 4 : 1};
});
MOE_BENCH_GATE(sqrt_softplus_top8, always(moe::ScoredTopK{.k = 8, .score = moe::ScoredTopK::Score::sqrt_softplus}));
MOE_BENCH_GATE(noisy_top2, [](Index e) { return moe::NoisyTopK<float>::zeros(e, width, {.k = 2}); });
MOE_BENCH_GATE(fixed_noise_top2, always(moe::FixedNoise{top2, 1.0}));
MOE_BENCH_GATE(gumbel_noise_top2, always(moe::GumbelNoise<TopK>{top2}));
MOE_BENCH_GATE(expert_choice, always(moe::ExpertChoice{.factor = 2}));
MOE_BENCH_GATE(expert_choice_over_tokens,
               always(moe::ExpertChoice{.factor = 2, .over = moe::ExpertChoice::Over::tokens, .average = true}));
MOE_BENCH_GATE(hash, [](Index e) { return moe::Hash::random(1000, e, rng); });
MOE_BENCH_GATE(multi_hash, [](Index e) { return multi_hash(e); });
MOE_BENCH_GATE(sinkhorn, always(moe::Sinkhorn{.k = 1}));
MOE_BENCH_GATE(base_assignment, always(moe::BaseAssignment{}));
MOE_BENCH_GATE(batch_prioritized_top2, always(moe::Prioritized{top2_of_all, moe::Priority::best_weight}));
MOE_BENCH_GATE(no_token_left_behind, always(moe::NoTokenLeftBehind{}));
MOE_BENCH_GATE(replay_top2, [](Index e) { return moe::Replay<float>::uniform(tokens, e, 2); });

// ---- the share

struct Shape {
  Index experts, k, width, hidden;

  /// Of the three products of all tokens' SwiGLU experts, forward.
  double flops() const {
    return 6.0 * static_cast<double>(tokens) * static_cast<double>(k * width) * static_cast<double>(hidden);
  }
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Seconds for the products of all tokens, if they ran at the peak of all threads: less than any real layer takes, so
/// that the share is stated too high rather than too low. No memory for the weights of large layers is needed.
double seconds_at_peak(const Shape& shape) { return shape.flops() / (bench::peak_gflops() * 1e9); }

/// Seconds measured: every expert gets its even part of an eighth of the tokens.
double seconds_measured(const Shape& shape) {
  constexpr Index part = 8;
  using X = moe::SwiGlu<float>;
  const std::vector<X> experts = moe::make_experts<X>(shape.experts, shape.width, shape.hidden, rng);
  const Index rows = tokens * shape.k / shape.experts / part;
  const moe::Matrix<float> x = bench::random_tokens(rows, shape.width);
  moe::Matrix<float> y(rows, shape.width);
  std::vector<X::Tape> tapes(experts.size());
  const auto pass = [&] {
    moe::DefaultExecutor{}.parallel_for(shape.experts, [&](Index e) {
      moe::Matrix<float> out(rows, shape.width);
      experts[static_cast<std::size_t>(e)].forward(x, out, tapes[static_cast<std::size_t>(e)]);
      benchmark::DoNotOptimize(out.data());
    });
  };
  pass();
  double best = 1e300;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    best = (std::min)(best, seconds_since(start));
  }
  return best * static_cast<double>(part);
}

void share(benchmark::State& state, const Shape& shape, bool measured) {
  const moe::DefaultExecutor executor;
  const moe::Matrix<float> x_TD = bench::random_tokens(tokens, shape.width);
  const moe::Batch<float> batch(x_TD);
  moe::Routing<float> routing = bench::random_routing(batch, shape.experts);
  moe::Plan<float> plan;
  moe::Buffer<moe::Matrix<float>> x_ND;
  moe::Matrix<float> y_TD(tokens, shape.width);
  const TopK gate{.k = shape.k};
  const double products = measured ? seconds_measured(shape) : seconds_at_peak(shape);
  double deciding = 1e300, moving = 1e300;  // the best of the passes: other programs disturb
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    routing.choices.clear();
    gate.route(batch, routing, nullptr);
    plan.build(batch, routing, moe::Capacity::unlimited(), false);
    const auto decided = std::chrono::steady_clock::now();
    moe::dispatch<float>(x_TD, plan, x_ND, executor);
    moe::combine<float>(x_ND, plan, y_TD, executor);
    moving = (std::min)(moving, seconds_since(decided));
    deciding = (std::min)(deciding, std::chrono::duration<double>(decided - start).count());
  }
  state.counters["%_gate+plan"] = 100 * deciding / products;
  state.counters["%_dispatch+combine"] = 100 * moving / products;
  state.counters["%_together"] = 100 * (deciding + moving) / products;
  state.counters["products_ms"] = products * 1e3;
}

constexpr Shape few_large{.experts = 8, .k = 2, .width = 1024, .hidden = 3584};
constexpr Shape many_small{.experts = 256, .k = 8, .width = 2048, .hidden = 1024};

void in_milliseconds(benchmark::internal::Benchmark* b) { b->UseRealTime()->Unit(benchmark::kMillisecond); }

BENCHMARK_CAPTURE(share, E8_k2_D1024_F3584_of_measured_products, few_large, true)->Apply(in_milliseconds);
BENCHMARK_CAPTURE(share, E8_k2_D1024_F3584_of_products_at_peak, few_large, false)->Apply(in_milliseconds);
BENCHMARK_CAPTURE(share, E256_k8_D2048_F1024_of_products_at_peak, many_small, false)->Apply(in_milliseconds);

}  // namespace

MOE_BENCHMARK_MAIN()
