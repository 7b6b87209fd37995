// What does it cost not to keep the hidden activations, and what does it save? A training step through four layers,
// each on the output of the one before, with the activations kept and recomputed in turn; the bytes are those of the
// memory that stays: in the four tapes, or in one that the layers share.
#include "support/layers.hpp"
#include "support/rounds.hpp"

namespace {

constexpr std::size_t depth = 4;

template <class... Buffers>
double bytes_of(const Buffers&... buffers) {
  return static_cast<double>((0 + ... + buffers.capacity())) * sizeof(float);
}

double hidden_bytes(const moe::SwiGlu<float>::Tape& tape) {
  return bytes_of(tape.gate_NF, tape.up_NF, tape.hidden_NF, tape.dgate_NF, tape.dup_NF);
}
double hidden_bytes(const moe::Mlp<float>::Tape& tape) { return bytes_of(tape.pre_NF, tape.hidden_NF, tape.dpre_NF); }

/// A step, and what it leaves behind.
template <class Layer>
struct Stack {
  using ExpertTapes = std::vector<typename decltype(Layer::experts)::value_type::Tape>;

  const Layer& layer;
  Layer gradient = moe::zeros_like(layer);
  std::vector<typename Layer::Tape> tapes = std::vector<typename Layer::Tape>(depth, typename Layer::Tape(1));
  std::vector<moe::Matrix<float>> x_TD;
  moe::Matrix<float> dx_TD;
  ExpertTapes shared_tapes = {};

  Stack(const Layer& one, const bench::Shape& shape, bool recompute)
      : layer(one), x_TD(depth + 1, bench::random_tokens(shape.tokens, shape.width)), dx_TD(x_TD[0]) {
    for (auto& tape : tapes) tape.recompute_in = recompute ? &shared_tapes : nullptr;
  }

  void step() {
    for (std::size_t i = 0; i < depth; ++i) layer.forward_into(x_TD[i], x_TD[i + 1], tapes[i]);
    dx_TD = x_TD[depth];
    for (std::size_t i = depth; i-- > 0;) dx_TD = layer.backward(x_TD[i], dx_TD, tapes[i], gradient);
  }

  double megabytes() const {
    double bytes = 0;
    for (const auto& tape : tapes)
      for (const auto& expert : tape.experts) bytes += hidden_bytes(expert);
    for (const auto& expert : shared_tapes) bytes += hidden_bytes(expert);
    return bytes / 1e6;
  }
};

template <class X>
void recompute(benchmark::State& state, std::type_identity<X>) {
  const bench::Shape shape = bench::shape_of(state);
  const auto layer = bench::make_layer<X>(shape);
  Stack kept(layer, shape, false), recomputed(layer, shape, true);
  kept.step();
  recomputed.step();
  std::vector<double> with, without;
  for (auto _ : state) {
    with.push_back(bench::seconds_of([&] { kept.step(); }));
    without.push_back(bench::seconds_of([&] { recomputed.step(); }));
    state.SetIterationTime(without.back());
  }
  state.counters["times_as_long"] = bench::median_ratio(without, with);
  state.counters["MB_kept"] = kept.megabytes();
  state.counters["MB_recomputed"] = recomputed.megabytes();
}

void once(benchmark::internal::Benchmark* b) {
  b->ArgNames({"D", "F", "E", "k", "T"})->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(7);
}

BENCHMARK_CAPTURE(recompute, swiglu, std::type_identity<moe::SwiGlu<float>>{})
    ->Apply(once)
    ->Args({1024, 3584, 8, 2, 256});
BENCHMARK_CAPTURE(recompute, relu, std::type_identity<moe::Mlp<float>>{})->Apply(once)->Args({512, 2048, 64, 2, 1024});

}  // namespace

MOE_BENCHMARK_MAIN()
