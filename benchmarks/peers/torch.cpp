// libtorch, in the two ways in which MoE layers are written in it: a loop over the experts that were chosen, as the
// Mixtral block of transformers has it, and one batched product over experts padded to the same number of tokens.
#include <torch/torch.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "../support/machine.hpp"
#include "peer.hpp"

namespace bench {

namespace {

using torch::Tensor;

/// The same memory.
Tensor tensor(const Rows& rows, std::vector<std::int64_t> sizes) {
  return torch::from_blob(const_cast<float*>(rows.data()), sizes, torch::kFloat);
}

/// Of a list of matrices, one.
Rows copy(const Tensor& values, Index e) {
  if (!values.defined()) return {};
  const Tensor plain = (values.dim() == 3 ? values[e] : values).detach().contiguous();
  return Eigen::Map<const Rows>(plain.data_ptr<float>(), plain.size(0), plain.size(1));
}

Tensor activate(Activation activation, const Tensor& gate) {
  switch (activation) {
    case Activation::swiglu:
      return torch::silu(gate);
    case Activation::relu:
      return torch::relu(gate);
    case Activation::gelu_tanh:
      break;
  }
  return torch::gelu(gate, "tanh");
}

/// What happens to the parameters' gradients before a step.
enum class Gradients { dropped, added_to };  // zero_grad(set_to_none=True); none, or in whole steps zero_grad()

class TorchLayer : public Peer {
 public:
  TorchLayer(const Problem& problem, Gradients before)
      : problem_(problem),
        shape_(problem.shape),
        before_(before),
        x_TD_(tensor(problem.x_TD, {shape_.tokens, shape_.width})),
        dy_TD_(tensor(problem.dy_TD, {shape_.tokens, shape_.width})),
        router_ED_(tensor(problem.router_ED, {shape_.experts, shape_.width})) {
    at::set_num_threads(static_cast<int>(default_threads()));
  }

  void forward(Rows& y_TD) override {
    const c10::InferenceMode inference;
    tensor(y_TD, {shape_.tokens, shape_.width}).copy_(layer(x_TD_));
  }

  void train(Rows& dx_TD) override {
    if (!router_ED_.requires_grad())
      for (Tensor& parameter : parameters()) parameter.requires_grad_();
    if (before_ == Gradients::dropped)
      for (Tensor& parameter : parameters()) parameter.mutable_grad() = Tensor();
    else if (adam_)
      adam_->zero_grad();
    const Tensor x_TD = x_TD_.detach().requires_grad_();
    layer(x_TD).backward(dy_TD_);
    tensor(dx_TD, {shape_.tokens, shape_.width}).copy_(x_TD.grad());
  }

  /// Trains the problem's own weights: so large a layer fits into memory beside another.
  void step(Rows& dx_TD) override {
    const StepSettings settings = problem_.step_settings();
    train(dx_TD);
    if (!adam_)
      adam_.emplace(
          parameters(),
          torch::optim::AdamWOptions(settings.learning_rate).eps(settings.epsilon).weight_decay(settings.weight_decay));
    torch::nn::utils::clip_grad_norm_(parameters(), settings.clip_norm, 2, /*error_if_nonfinite=*/true);
    adam_->step();
  }

  Rows gradient(Part part, Index e) override { return copy(part_of(part, e).grad(), e); }
  Rows weight(Part part, Index e) override { return copy(part_of(part, e), e); }

 protected:
  virtual Tensor layer(const Tensor& x_TD) = 0;
  virtual std::vector<Tensor> parameters() const = 0;
  virtual Tensor part_of(Part part, Index e) const = 0;

  /// The weights of the choices and their experts, (T, K) each.
  std::pair<Tensor, Tensor> route(const Tensor& x_TD) const {
    const Tensor probabilities_TE = torch::softmax(torch::linear(x_TD, router_ED_), 1);
    auto [weight_TK, expert_TK] = torch::topk(probabilities_TE, shape_.k, 1);
    if (shape_.k > 1) weight_TK = weight_TK / weight_TK.sum(1, true);
    return {weight_TK, expert_TK};
  }

  const Problem& problem_;
  const Shape shape_;
  const Gradients before_;
  Tensor x_TD_, dy_TD_, router_ED_;
  std::optional<torch::optim::AdamW> adam_;
};

/// Every expert has weights of its own.
class TorchLoop final : public TorchLayer {
 public:
  TorchLoop(const Problem& problem, Gradients before) : TorchLayer(problem, before) {
    for (Index e = 0; e < shape_.experts; ++e) {
      const auto weight = [](auto rows) {
        return torch::from_blob(const_cast<float*>(rows.data()), {rows.rows(), rows.cols()}, torch::kFloat);
      };
      experts_.push_back(
          {weight(problem.w1(e)), problem.gated() ? weight(problem.w3(e)) : Tensor(), weight(problem.w2(e))});
    }
  }

 private:
  struct Expert {
    Tensor w1_FD, w3_FD, w2_DF;
  };

  Tensor layer(const Tensor& x_TD) override {
    const auto [weight_TK, expert_TK] = route(x_TD);
    const Tensor chosen_EKT = torch::one_hot(expert_TK, shape_.experts).permute({2, 1, 0});
    const Tensor used = chosen_EKT.sum({1, 2}).nonzero().flatten();
    Tensor y_TD = torch::zeros_like(x_TD);
    for (std::int64_t i = 0; i < used.size(0); ++i) {
      const auto e = used[i].item<std::int64_t>();
      const std::vector<Tensor> where = torch::where(chosen_EKT[e]);  // rank and token
      const Tensor y = expert(experts_[static_cast<std::size_t>(e)], x_TD.index_select(0, where[1]));
      y_TD.index_add_(0, where[1], y * weight_TK.index({where[1], where[0]}).unsqueeze(1));
    }
    return y_TD;
  }

  Tensor expert(const Expert& expert, const Tensor& x_ND) const {
    Tensor hidden = activate(problem_.activation, torch::linear(x_ND, expert.w1_FD));
    if (problem_.gated()) hidden = hidden * torch::linear(x_ND, expert.w3_FD);
    return torch::linear(hidden, expert.w2_DF);
  }

  std::vector<Tensor> parameters() const override {
    std::vector<Tensor> all{router_ED_};
    for (const Expert& expert : experts_)
      for (const Tensor& weight : {expert.w1_FD, expert.w3_FD, expert.w2_DF})
        if (weight.defined()) all.push_back(weight);
    return all;
  }

  Tensor part_of(Part part, Index e) const override {
    const Expert& expert = experts_[static_cast<std::size_t>(e)];
    return part == Part::router ? router_ED_
           : part == Part::w1   ? expert.w1_FD
           : part == Part::w3   ? expert.w3_FD
                                : expert.w2_DF;
  }

  std::vector<Expert> experts_;
};

/// The experts' weights are one tensor; every expert works on as many rows as the fullest one, so that none is dropped.
class TorchBmm final : public TorchLayer {
 public:
  TorchBmm(const Problem& problem, Gradients before)
      : TorchLayer(problem, before),
        w1_EFD_(tensor(problem.w1_EFD, {shape_.experts, shape_.hidden, shape_.width})),
        w2_EDF_(tensor(problem.w2_EDF, {shape_.experts, shape_.width, shape_.hidden})) {
    if (problem.gated()) w3_EFD_ = tensor(problem.w3_EFD, {shape_.experts, shape_.hidden, shape_.width});
  }

 private:
  Tensor layer(const Tensor& x_TD) override {
    const auto [weight_TK, expert_TK] = route(x_TD);
    const Tensor expert_N = expert_TK.flatten(), order = torch::argsort(expert_N);
    const Tensor count_E = torch::bincount(expert_N, {}, shape_.experts), token = order.div(shape_.k, "floor");
    const auto rows = count_E.max().item<std::int64_t>();
    const Tensor sorted = expert_N.index_select(0, order), begin_E = count_E.cumsum(0) - count_E;
    const Tensor rank = torch::arange(order.size(0)) - begin_E.index_select(0, sorted), slot = sorted * rows + rank;

    const Tensor x_ECD = torch::zeros({shape_.experts * rows, shape_.width})
                             .index_copy(0, slot, x_TD.index_select(0, token))
                             .view({shape_.experts, rows, shape_.width});
    Tensor hidden_ECF = activate(problem_.activation, torch::bmm(x_ECD, w1_EFD_.transpose(1, 2)));
    if (problem_.gated()) hidden_ECF = hidden_ECF * torch::bmm(x_ECD, w3_EFD_.transpose(1, 2));
    const Tensor y_ECD = torch::bmm(hidden_ECF, w2_EDF_.transpose(1, 2));
    const Tensor y_ND = y_ECD.view({shape_.experts * rows, shape_.width}).index_select(0, slot);
    return torch::zeros_like(x_TD).index_add(0, token, y_ND * weight_TK.flatten().index_select(0, order).unsqueeze(1));
  }

  std::vector<Tensor> parameters() const override {
    std::vector<Tensor> all{router_ED_, w1_EFD_, w2_EDF_};
    if (problem_.gated()) all.push_back(w3_EFD_);
    return all;
  }

  Tensor part_of(Part part, Index) const override {
    return part == Part::router ? router_ED_ : part == Part::w1 ? w1_EFD_ : part == Part::w3 ? w3_EFD_ : w2_EDF_;
  }

  Tensor w1_EFD_, w3_EFD_, w2_EDF_;
};

template <class Layer>
Way way(const char* name, Gradients before) {
  return {name, [before](const Problem& problem, Pass) { return std::make_unique<Layer>(problem, before); }};
}

template <class Layer>
Implementation implementation(const char* name) {
  return {name,
          {way<Layer>("", Gradients::dropped)},
          {way<Layer>("gradients dropped", Gradients::dropped), way<Layer>("gradients added to", Gradients::added_to)}};
}

}  // namespace

Implementation torch_loop_implementation() { return implementation<TorchLoop>("torch " TORCH_VERSION ", loop"); }
Implementation torch_bmm_implementation() { return implementation<TorchBmm>("torch " TORCH_VERSION ", bmm"); }

/// One for both ways, since the weights are there once.
Implementation torch_step_implementation() {
  return {"torch " TORCH_VERSION,
          {},
          {},
          {way<TorchLoop>("loop, gradients dropped", Gradients::dropped),
           way<TorchLoop>("loop, gradients zeroed", Gradients::added_to),
           way<TorchBmm>("bmm, gradients dropped", Gradients::dropped),
           way<TorchBmm>("bmm, gradients zeroed", Gradients::added_to)}};
}

}  // namespace bench
