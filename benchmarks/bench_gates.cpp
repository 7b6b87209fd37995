// What does it cost to decide? route/<gate>/E: each gate of the library alone, without the router's product; T = 4096
// tokens, one thread, with a generator as in training (the gates that draw numbers spend most of their time on that).
// %_layer: in percent of a layer's time, taken to be that of its experts' products (SwiGLU, as many rows as the gate
// chose) at the multiply-add peak of all threads: less than any real layer takes, so that the share is stated too high.
// Widths by E: 8: D 1024, F 3584; 64 and 256: D 2048, F 1024; 1024: D 512, F 512.
#include <moe/moe.hpp>

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

/// Of the products of one row in an expert: three matrices, a multiply-add counts twice.
double flops_of_row(Index experts) {
  const double weights = experts <= 8 ? 1024.0 * 3584 : experts <= 256 ? 2048.0 * 1024 : 512.0 * 512;
  return 6 * weights;
}

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
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    routing.choices.clear();
    gate.route(batch, routing, &random);
    benchmark::DoNotOptimize(routing.choices.data());
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  bench::report(state, static_cast<double>(tokens), 0);
  const double flops = flops_of_row(experts) * static_cast<double>(routing.choices.size());
  const double seconds_of_products = flops / (bench::peak_gflops() * 1e9);
  state.counters["%_layer"] = 100 * seconds.count() / static_cast<double>(state.iterations()) / seconds_of_products;
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgName("E")->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (const Index experts : {8, 64, 256, 1024}) b->Arg(experts);
}

std::mt19937_64 rng(3);
const TopK top2{.k = 2}, top2_of_all{.k = 2, .weights = ChoiceWeights::probabilities()};

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
MOE_BENCH_GATE(top8_renormalized, always(TopK{.k = 8, .weights = ChoiceWeights::renormalized()}));
MOE_BENCH_GATE(variable_top_k, always(moe::VariableTopK{.k_T = one_to_four()}));
MOE_BENCH_GATE(top_p, always(moe::TopP{.p = 0.5, .most = 8}));
MOE_BENCH_GATE(threshold, always(moe::Threshold{.threshold = 0.9}));
MOE_BENCH_GATE(gshard_top2, always(moe::gshard_top2()));
MOE_BENCH_GATE(st_moe_top3, always(moe::st_moe_top_n(3)));
MOE_BENCH_GATE(deepseek_v3, [](Index e) {
  return moe::ScoredTopK{
      .k = 8, .selection_bias_E = moe::Vector<double>::Zero(e), .groups = e > 8 ? 8 : 1, .groups_used = e > 8 ? 4 : 1};
});
MOE_BENCH_GATE(sqrt_softplus_top8, always(moe::ScoredTopK{.k = 8, .scores = moe::Scores::sqrt_softplus()}));
MOE_BENCH_GATE(noisy_top2, [](Index e) { return moe::NoisyTopK<float>::zeros(e, width, {.k = 2}); });
MOE_BENCH_GATE(fixed_noise_top2, always(moe::FixedNoise{top2, 1.0}));
MOE_BENCH_GATE(gumbel_noise_top2, always(moe::GumbelNoise<TopK>{top2}));
MOE_BENCH_GATE(expert_choice, always(moe::ExpertChoice{.factor = 2}));
MOE_BENCH_GATE(expert_choice_over_tokens,
               always(moe::ExpertChoice{
                   .factor = 2, .softmax_axis = moe::ExpertChoice::Axis::tokens, .average = true}));
MOE_BENCH_GATE(hash, [](Index e) { return moe::Hash::random(1000, e, rng); });
MOE_BENCH_GATE(multi_hash, [](Index e) { return multi_hash(e); });
MOE_BENCH_GATE(sparse_mixer, always(moe::SparseMixer{}));
MOE_BENCH_GATE(sinkhorn, always(moe::Sinkhorn{.k = 1}));
MOE_BENCH_GATE(base_assignment, always(moe::BaseAssignment{}));
MOE_BENCH_GATE(batch_prioritized_top2, always(moe::Prioritized{top2_of_all, moe::Priority::best_probability}));
MOE_BENCH_GATE(no_token_left_behind, always(moe::NoTokenLeftBehind{}));
MOE_BENCH_GATE(replay_top2, [](Index e) { return moe::Replay<float>::uniform(tokens, e, 2); });

}  // namespace

MOE_BENCHMARK_MAIN()
