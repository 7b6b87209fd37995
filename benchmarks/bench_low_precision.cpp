// What do weights of fewer bits bring in inference? Layers A and B in each storage beside float, in turns: the time of
// a pass, the share of the machine's reading speed at which the weights of the experts at work are read, and the
// speed-up over float. Options: the cells ("A", "B"), the numbers of tokens; without any, all.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "support/layers.hpp"
#include "support/rounds.hpp"

namespace {

constexpr int rounds = 9;
constexpr moe::Index many = 16;  // tokens that work for most experts

struct Cell {
  std::string_view name;
  bench::Shape shape;
};
constexpr Cell cells[] = {{"A", {1024, 3584, 8, 2, 0}}, {"B", {2048, 1024, 64, 8, 0}}};

/// A layer, and what its passes need.
template <class Layer>
class Passes {
 public:
  explicit Passes(Layer layer) : layer_(std::move(layer)) { tape_.keep_activations = false; }

  void run(const std::vector<moe::Matrix<float>>& x_TD) {
    for (const auto& batch : x_TD) {
      y_TD_.resize(batch.rows(), batch.cols());
      layer_.forward_into(batch, y_TD_, tape_);
    }
  }

  /// Of the weights that such passes read, each once.
  double bytes(const std::vector<moe::Matrix<float>>& x_TD) {
    double sum = 0;
    for (const auto& batch : x_TD) {
      y_TD_.resize(batch.rows(), batch.cols());
      layer_.forward_into(batch, y_TD_, tape_);
      sum += static_cast<double>(moe::cost_of(layer_, tape_).bytes_used);
    }
    return sum;
  }

 private:
  Layer layer_;
  typename Layer::Tape tape_;
  moe::Matrix<float> y_TD_;
};

template <class Layer>
Passes(Layer) -> Passes<Layer>;

void measure(const Cell& cell, const std::vector<moe::Index>& tokens, double gbytes) {
  const auto layer = bench::make_layer<moe::SwiGlu<float>>(cell.shape);
  const std::vector<const char*> names{"float", "Bfloat16Weights", "Int8Weights", "Mxfp4Weights"};
  std::tuple all{Passes{layer}, Passes{moe::quantized<moe::Bfloat16Weights>(layer)},
                 Passes{moe::quantized<moe::Int8Weights>(layer)}, Passes{moe::quantized<moe::Mxfp4Weights>(layer)}};
  for (const moe::Index count : tokens) {
    std::mt19937_64 rng(7);
    const std::size_t batches = count < many ? 16 : 2;  // in turn, so that no expert is found in the last cache
    std::vector<moe::Matrix<float>> x_TD;
    for (std::size_t i = 0; i < batches; ++i)
      x_TD.push_back(moe::random_matrix<float>(count, cell.shape.width, rng, 1));
    std::vector<std::function<void()>> passes;
    std::vector<double> bytes;
    std::apply(
        [&](auto&... one) {
          (passes.push_back([&] { one.run(x_TD); }), ...);
          (bytes.push_back(one.bytes(x_TD)), ...);
        },
        all);
    const auto seconds = bench::take_turns(passes, rounds);
    for (std::size_t i = 0; i < names.size(); ++i) {
      const double typical = bench::median(seconds[i]), speed = 1e-9 * bytes[i] / typical;
      std::printf("| %s/T%-3d | %-16s | %8.3f | %5.1f | %3.0f %% | %5.2f |\n", std::string(cell.name).c_str(),
                  static_cast<int>(count), names[i], 1e3 * typical / static_cast<double>(batches), speed,
                  100 * speed / gbytes, bench::median_ratio(seconds[0], seconds[i]));
    }
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Cell> chosen;
  std::vector<moe::Index> tokens;
  for (int i = 1; i < argc; ++i) {
    for (const Cell& cell : cells)
      if (cell.name == argv[i]) chosen.push_back(cell);
    if (const moe::Index count = std::atol(argv[i]); count > 0) tokens.push_back(count);
  }
  if (chosen.empty()) chosen.assign(std::begin(cells), std::end(cells));
  if (tokens.empty()) tokens = {1, 2, 4, 8, 16, 64, 256};
  const double gbytes = bench::peak_gbytes();
  std::printf("%d threads, %.1f GB/s are read at most\n\n", static_cast<int>(bench::default_threads()), gbytes);
  std::printf("| layer | weights | ms | GB/s | of reading | speed-up |\n|---|---|---|---|---|---|\n");
  for (const Cell& cell : chosen) measure(cell, tokens, gbytes);
}
