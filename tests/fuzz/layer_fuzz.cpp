// A layer from bytes: forward and backward pass, losses, a step, a file. It is refused with std::invalid_argument, and
// nothing has changed; or it computes what naive loops over the choices on its tape do, to the same bits with any
// executor, again, and with recomputed activations.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/any_layer.hpp"
#include "fuzz/bytes.hpp"
#include "fuzz/naive.hpp"
#include "moe/io/model_file.hpp"

namespace {

using namespace fuzz;

using AnyShared = moe::Shared<AnyLayer, moe::SwiGlu<S>, moe::SigmoidMix<S>>;

/// How the passes are made.
struct Passes {
  bool training, recompute, keep;
  std::uint64_t seed;
  double loss_scale;
  Ordered executor, other;
  std::uint8_t misuse;
};

Passes any_passes(Bytes& in) {
  const std::uint8_t what = in.byte();
  return {.training = (what & 1) != 0,
          .recompute = (what & 2) != 0,
          .keep = (what & 28) != 28,
          .seed = in.byte(),
          .loss_scale = in.number(),
          .executor = {1 + in.index(5), (what & 32) != 0},
          .other = {1 + in.index(9), (what & 64) != 0},
          .misuse = in.byte()};
}

template <class Tape>
Tape tape_of(const Passes& passes) {
  Tape tape = passes.training ? Tape(passes.seed) : Tape();
  tape.loss_scale = passes.loss_scale;
  tape.keep_activations = passes.keep;
  return tape;
}

const AnyLayer& layer_of(const AnyLayer& layer) { return layer; }
const AnyLayer& layer_of(const AnyShared& shared) { return shared.layer; }

AnyLayer& changed(AnyLayer& layer) { return layer; }
AnyLayer& changed(AnyShared& shared) { return shared.layer; }

/// f, which may refuse: then the model or gradient is to be as it was.
template <class Model, class F>
bool attempt(const Model& model, const char* what, F&& f) {
  const std::vector<double> before = state_of(model);
  try {
    f();
    return true;
  } catch (const std::invalid_argument&) {
    expect(same_state(state_of(model), before), what);
    return false;
  }
}

/// A backward pass of another batch than the forward pass's, or of a layer that has changed since: refused, or no harm.
template <class Model>
void misuse(Model model, const Tokens& tokens, const Passes& passes) {
  Tokens other = tokens;
  Matrix<S> dy_TO = Matrix<S>::Ones(tokens.count, model.output_width(tokens.width));
  auto tape = tape_of<typename Model::Tape>(passes);
  (void)model.forward(tokens.batch(), tape, passes.executor);
  const Index change = passes.misuse / 32;
  switch (passes.misuse % 8) {
    case 0:
      other.valid.assign(static_cast<std::size_t>(tokens.count), std::uint8_t{1});
      for (Index t = 0; t < tokens.count; t += 1 + change) other.valid[static_cast<std::size_t>(t)] = 0;
      break;
    case 1:
      other.group_size = change;
      break;
    case 2:
      other.count = change;
      other.x_TD.setOnes(change, tokens.width);
      dy_TO.setOnes(change, model.output_width(tokens.width));
      if (!other.valid.empty()) other.valid.assign(static_cast<std::size_t>(change), std::uint8_t{1});
      if (!other.ids.empty()) other.ids.assign(static_cast<std::size_t>(change), 0);
      break;
    case 3:
      dy_TO.setOnes(change, tokens.width + 1);
      break;
    case 4:
      tape.keep_activations = !tape.keep_activations;
      break;
    case 5:
      changed(model).gate = moe::Softmax{};
      break;
    case 6:
      changed(model).experts.front() = moe::Mlp<S, moe::Gelu>{moe::Matrix<S>::Ones(1 + change, tokens.width),
                                                              moe::Matrix<S>::Ones(tokens.width, 1 + change)};
      break;
    default:
      std::get<0>(changed(model).losses.all).coefficient = 1;
      std::get<0>(changed(model).losses.all).earlier = {Vector<double>::Ones(change), 1};
  }
  Model gradient = moe::zeros_like(model);
  (void)model.backward(other.batch(), dy_TO, tape, gradient, passes.executor);
}

template <class Model>
void check_file(const Model& model) {
  const File file("model");
  moe::io::save(file.path(), model);
  Model again = model;
  moe::set_zero(again);
  moe::io::load(file.path(), again);
  expect(same_state(state_of(again), state_of(model)), "a model is not what it was saved as");
}

/// d(sum of y dy + losses) along one direction of the experts' own parameters: the choices do not change.
void check_experts_gradient(const AnyLayer& layer, const Tokens& tokens, const Passes& passes, const Matrix<S>& dy_TO,
                            const AnyLayer& gradient) {
  for (const AnyExpert& expert : layer.experts)
    if (std::holds_alternative<Inner>(expert.expert) ||  // makes choices of its own
        std::holds_alternative<moe::ClampedSwiGlu<S>>(expert.expert))
      return;
  std::mt19937_64 rng{passes.seed};
  AnyLayer direction = moe::zeros_like(layer);
  for (AnyExpert& expert : direction.experts)
    moe::for_each_parameter([&](std::string_view, auto& p) { moe::detail::fill_normal(rng, 1, p); }, expert);
  const auto along = moe::flatten(direction), start = moe::flatten(layer);
  const auto value = [&](double step) {
    AnyLayer moved = layer;
    moe::unflatten(start + step * along, moved);
    auto tape = tape_of<AnyLayer::Tape>(passes);
    return moved.forward(tokens.batch(), tape, passes.executor).cwiseProduct(dy_TO).sum();
  };
  const double step = 1e-5, difference = (value(step) - value(-step)) / (2 * step);
  const double slope = moe::flatten(gradient).dot(along);
  const double size = std::abs(value(0)) + moe::flatten(gradient).cwiseAbs().sum();
  expect(!(size < 1e6) || std::abs(difference - slope) <= 1e-5 * (1 + size),
         "the gradient of the experts is not what differences say");
}

template <class Model>
void check_step(const Model& model, const Model& gradient, Bytes& in) {
  Model stepped = model;
  moe::AdamW adam{stepped, {.learning_rate = 0.01, .weight_decay = 0.1 * in.whole(2)}};
  moe::Sgd sgd{stepped, {.learning_rate = 0.01, .momentum = 0.5}};
  const bool steps = in.flag() ? adam.step(stepped, gradient) : sgd.step(stepped, gradient);
  bool finite = true;
  for (const double value : state_of(gradient)) finite = finite && std::isfinite(value) && std::abs(value) < 1e100;
  expect(!finite || steps, "a finite gradient was refused");
  expect(steps || same_state(state_of(stepped), state_of(model)), "a refused step changed the model");
}

/// Experts come and go, an optimiser and a gradient with them; a permutation changes no output.
void check_surgery(const AnyLayer& before, const Tokens& tokens, Bytes& in) {
  AnyLayer layer = before, gradient = moe::zeros_like(before);
  moe::AdamW adam{layer, {.learning_rate = 0.01}};
  const Index experts = tokens.experts, first = in.index(experts + 1), second = in.index(experts);
  std::vector<Index> order;
  for (Index e = 0; e < experts; ++e) order.push_back((e + first) % experts);
  std::mt19937_64 rng{in.byte()};
  const Index kind = in.index(6);
  if (!attempt(layer, "refused surgery changed the layer", [&] {
        if (kind == 0) moe::permute_experts(layer, order, adam, gradient);
        if (kind == 1) moe::remove_expert(layer, first, adam, gradient);
        if (kind == 2) moe::split_expert(layer, first, {.halve_mass = in.flag()}, adam, gradient);
        if (kind == 3) moe::merge_experts(layer, first, second, {}, adam, gradient);
        if (kind == 4)
          moe::add_experts(layer, moe::Router<S>::zeros(1, tokens.width),
                           std::vector<AnyExpert>{moe::Linear<S>::random(tokens.width, tokens.width, rng)}, adam,
                           gradient);
        if (kind == 5) moe::keep_experts(layer, {first, second}, adam, gradient);
      }))
    return;
  layer.check();
  const bool by_value =
      std::holds_alternative<moe::TopK>(layer.gate.gate) || std::holds_alternative<moe::Softmax>(layer.gate.gate);
  const Matrix<S> y_TO = layer.forward(tokens.batch());
  if (kind == 0 && by_value && !tokens.wild) {
    const Matrix<S> was = before.forward(tokens.batch());
    expect((y_TO - was).cwiseAbs().sum() <= 1e-8 * (1 + was.cwiseAbs().sum()), "a permutation changed an output");
  }
  expect(adam.step(layer, gradient), "an optimiser did not follow its layer");
}

template <class Model>
void run(const Model& model, const Tokens& tokens, Bytes& in) {
  const Passes passes = any_passes(in);
  const moe::Batch<S> batch = tokens.batch();
  auto tape = tape_of<typename Model::Tape>(passes), other = tape_of<typename Model::Tape>(passes);
  std::vector<typename AnyExpert::Tape> room;
  if (passes.recompute) other.recompute_in = &room;

  const Matrix<S> y_TO = model.forward(batch, tape, passes.executor);
  const AnyLayer& layer = layer_of(model);
  check_choices(layer, batch, tape, passes.training);
  if constexpr (std::is_same_v<Model, AnyLayer>) check_outputs(layer, batch, tape, y_TO);
  std::optional<Matrix<S>> again;
  // Layers inside a layer cannot be computed again, and say so.
  if (!attempt(model, "a refused pass changed the model", [&] { again = model.forward(batch, other, passes.other); })) {
    other = tape_of<typename Model::Tape>(passes);
    again = model.forward(batch, other, passes.other);
  }
  expect(same_entries(y_TO, *again), "another executor gives other outputs");
  std::optional<double> loss;
  attempt(model, "a refused loss changed the model", [&] { loss = model.auxiliary_loss(tape); });
  if (loss) expect(same(*loss, model.auxiliary_loss(other)), "another executor gives another loss");

  std::mt19937_64 rng{passes.seed};
  const Matrix<S> dy_TO = moe::random_matrix<S>(y_TO.rows(), y_TO.cols(), rng);
  Model gradient = moe::zeros_like(model), second = gradient;
  Matrix<S> dx_TD, dx2_TD;
  const bool refused = !attempt(gradient, "a refused backward pass changed the gradient",
                                [&] { dx_TD = model.backward(batch, dy_TO, tape, gradient, passes.executor); });
  if (!refused) {
    dx2_TD = model.backward(batch, dy_TO, other, second, passes.other);
    expect(same_entries(dx_TD, dx2_TD) && same_state(state_of(gradient), state_of(second)),
           "another executor gives other gradients");
    for (Index t = 0; t < tokens.count; ++t)
      expect(batch.is_valid(t) || (dx_TD.row(t).array() == 0).all(), "padding has a gradient");
    if constexpr (std::is_same_v<Model, AnyLayer>) {
      check_linear_gradients(layer, batch, tape, dy_TO, gradient);
      if (!tokens.wild) check_experts_gradient(layer, tokens, passes, dy_TO, gradient);
    }
    check_step(model, gradient, in);
  }
  check_file(model);
  if constexpr (std::is_same_v<Model, AnyLayer>)
    attempt(model, "refused surgery changed another layer", [&] { check_surgery(model, tokens, in); });
  attempt(model, "a misuse changed the model", [&] { misuse(model, tokens, passes); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes in(data, size);
  try {
    const bool is_shared = in.index(4) == 0;
    const Tokens tokens = any_tokens(in);
    const AnyLayer layer = any_layer(in, tokens);
    if (is_shared) {
      std::mt19937_64 rng{1};
      run(AnyShared{layer, moe::SwiGlu<S>::random(tokens.width, 3, rng),
                    moe::SigmoidMix<S>{moe::random_matrix<S>(1, tokens.width, rng)}},
          tokens, in);
    } else {
      run(layer, tokens, in);
    }
  } catch (const std::invalid_argument&) {  // refused, as it is documented
  }
  return 0;
}
