// Which share of a layer's forward pass is routing? The router's product, the gate, the plan, dispatch and combine,
// each in percent of the time of the whole layer, T = 4096 tokens. Where the weights would need too much memory: in
// percent of the experts' products at the multiply-add peak, which take less time than any real layer, so that the
// share is stated too high rather than too low.
#include <array>

#include "support/layers.hpp"
#include "support/rounds.hpp"

namespace {

using moe::Index;
using Expert = moe::SwiGlu<float>;

/// The parts of a pass, one by one, as the layer runs them.
class Parts {
 public:
  explicit Parts(const bench::Shape& shape)
      : x_TD_(bench::random_tokens(shape.tokens, shape.width)), y_TD_(x_TD_), batch_(x_TD_), gate_{.k = shape.k} {
    std::mt19937_64 rng(42);
    router_ = moe::Router<float>::random(shape.experts, shape.width, rng);
    routing_.reset(batch_, shape.experts);
  }

  static constexpr std::array names{"%_router", "%_gate", "%_plan", "%_dispatch", "%_combine"};

  void run(std::size_t part) {
    switch (part) {
      case 0:
        return router_.forward(batch_, routing_, tape_, nullptr, executor_);
      case 1:
        routing_.choices.clear();
        return gate_.route(batch_, routing_, nullptr);
      case 2:
        return plan_.build(batch_, routing_, moe::Capacity::unlimited(), false);
      case 3:
        return moe::dispatch<float>(x_TD_, plan_, x_ND_, executor_);
      default:
        return moe::combine<float>(x_ND_, plan_, y_TD_, executor_);
    }
  }

 private:
  const moe::Matrix<float> x_TD_;
  moe::Matrix<float> y_TD_;
  const moe::Batch<float> batch_;
  const moe::TopK gate_;
  const moe::DefaultExecutor executor_{};
  moe::Router<float> router_;
  moe::Router<float>::Tape tape_;
  moe::Routing<float> routing_;
  moe::Plan<float> plan_;
  moe::Buffer<moe::Matrix<float>> x_ND_;
};

/// Times the parts and, in turn with them, `whole`; 0 seconds where there is none.
template <class Whole>
void share(benchmark::State& state, const bench::Shape& shape, double seconds_of_products, Whole&& whole) {
  Parts parts(shape);
  std::array<std::vector<double>, Parts::names.size()> seconds;
  std::vector<double> seconds_of_whole;
  for (auto _ : state) {
    for (std::size_t i = 0; i < seconds.size(); ++i) seconds[i].push_back(bench::seconds_of([&] { parts.run(i); }));
    seconds_of_whole.push_back(bench::seconds_of(whole));
  }
  const double all = seconds_of_products > 0 ? seconds_of_products : bench::median(seconds_of_whole);
  double sum = 0;
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    const double percent = 100 * bench::median(seconds[i]) / all;
    state.counters[Parts::names[i]] = percent;
    sum += percent;
  }
  state.counters["%_together"] = sum;
  state.counters["of_ms"] = all * 1e3;
}

void of_layer(benchmark::State& state, const bench::Shape& shape) {
  const auto layer = bench::make_layer<Expert>(shape);
  const moe::Matrix<float> x_TD = bench::random_tokens(shape.tokens, shape.width);
  moe::Matrix<float> y_TD(shape.tokens, shape.width);
  typename std::remove_const_t<decltype(layer)>::Tape tape;
  layer.forward_into(x_TD, y_TD, tape);
  share(state, shape, 0, [&] { layer.forward_into(x_TD, y_TD, tape); });
}

void of_products_at_peak(benchmark::State& state, const bench::Shape& shape) {
  const double flops =
      6.0 * static_cast<double>(shape.tokens * shape.k) * static_cast<double>(shape.width * shape.hidden);
  share(state, shape, flops / (bench::peak_gflops() * 1e9), [] {});
}

void settings(benchmark::internal::Benchmark* b) { b->UseRealTime()->Unit(benchmark::kMillisecond)->Iterations(7); }

BENCHMARK_CAPTURE(of_layer, E8_k2_D1024_F3584, {1024, 3584, 8, 2, 4096})->Apply(settings);
BENCHMARK_CAPTURE(of_layer, E64_k8_D2048_F1024, {2048, 1024, 64, 8, 4096})->Apply(settings);
BENCHMARK_CAPTURE(of_layer, E1024_k2_D512_F512, {512, 512, 1024, 2, 4096})->Apply(settings);
BENCHMARK_CAPTURE(of_products_at_peak, E8_k2_D1024_F3584, {1024, 3584, 8, 2, 4096})->Apply(settings);
BENCHMARK_CAPTURE(of_products_at_peak, E256_k8_D2048_F1024, {2048, 1024, 256, 8, 4096})->Apply(settings);

}  // namespace

MOE_BENCHMARK_MAIN()
