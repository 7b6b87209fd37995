// How long does a whole training step take: the layer, forward and backward, and the rest, which is the test for
// finite numbers, clipping to a norm, AdamW and zeroing the gradient? Which share of what the machine allows do both
// reach, and how much memory do they need? Other libraries: `bench_peers --pass=step`.
#include <stdexcept>

#include "support/layers.hpp"
#include "support/rounds.hpp"

namespace {

template <class X>
struct Training {
  using Layer = decltype(bench::make_layer<X>(bench::Shape()));

  bench::Shape shape;
  Layer layer = bench::make_layer<X>(shape);
  Layer gradient = moe::zeros_like(layer);
  moe::AdamW<Layer> adam{layer, {.learning_rate = 1e-4, .weight_decay = 0.01, .clip_norm = 1, .zero_gradient = true}};
  typename Layer::Tape tape{1};
  moe::Matrix<float> x_TD = bench::random_tokens(shape.tokens, shape.width), y_TD = x_TD, dx_TD = x_TD;

  void pass() {
    layer.forward_into(x_TD, y_TD, tape);
    layer.backward_into(x_TD, y_TD, tape, dx_TD, gradient);
  }

  void update() {
    if (!adam.step(layer, gradient)) throw std::runtime_error("bench_step: the gradient is not finite");
  }

  double parameters() const { return static_cast<double>(moe::parameter_count(layer)); }

  /// By the formula: weights, gradient and moments, what the tape keeps of a slot and of a token, and three batches.
  double bytes() const {
    const moe::Index slot = 4 * shape.width + shape.hidden * (requires { layer.experts[0].w3_FD; } ? 5 : 3);
    const moe::Index token = shape.k * slot + 4 * shape.experts + 3 * shape.width;
    return sizeof(float) * (4 * parameters() + static_cast<double>(shape.tokens * token));
  }
};

template <class X>
void step(benchmark::State& state, std::type_identity<X>) {
  const bench::PeakMemory memory;
  Training<X> training{bench::shape_of(state)};
  training.pass();  // the first step pays for its memory
  training.update();
  const double gbytes = memory.gbytes();
  std::vector<double> layer, rest, least;  // seconds; the memory of a shared machine is measured anew in each turn
  for (auto _ : state) {
    layer.push_back(bench::seconds_of([&] { training.pass(); }));
    rest.push_back(bench::seconds_of([&] { training.update(); }));
    least.push_back(bench::update_seconds(training.parameters(), bench::update_gbytes(2)));
    state.SetIterationTime(layer.back() + rest.back());
  }
  const double layer_seconds = bench::median(layer), rest_seconds = bench::median(rest);
  const double flops = 3 * bench::forward_flops(training.layer, training.shape);
  const double bytes = 4 * bench::weight_bytes(training.layer, training.tape);
  state.counters["ms_layer"] = 1e3 * layer_seconds;
  state.counters["ms_rest"] = 1e3 * rest_seconds;
  state.counters["%roof_layer"] = 100 * bench::roofline_seconds(flops, bytes) / layer_seconds;
  state.counters["%update_rest"] = 100 * bench::median_ratio(least, rest);
  state.counters["GB/s_rest"] = 36e-9 * training.parameters() / rest_seconds;
  state.counters["GB"] = gbytes;
  state.counters["GB_formula"] = 1e-9 * training.bytes();
}

void once(benchmark::internal::Benchmark* b) {
  b->ArgNames({"D", "F", "E", "k", "T"})->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(7);
}

BENCHMARK_CAPTURE(step, A_swiglu, std::type_identity<moe::SwiGlu<float>>{})
    ->Apply(once)
    ->Args({1024, 3584, 8, 2, 1024});
BENCHMARK_CAPTURE(step, B_swiglu, std::type_identity<moe::SwiGlu<float>>{})
    ->Apply(once)
    ->Args({2048, 1024, 64, 8, 1024});
BENCHMARK_CAPTURE(step, D_gelu, std::type_identity<moe::Mlp<float, moe::GeluTanh>>{})
    ->Apply(once)
    ->ArgsProduct({{512}, {512}, {8, 64, 512, 1024}, {2}, {4096}});

}  // namespace

MOE_BENCHMARK_MAIN()
