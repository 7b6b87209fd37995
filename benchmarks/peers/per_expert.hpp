// The obvious layer on plain matrices: gather the tokens of each expert, a product, the activation, a product, and add
// the weighted results up. With any library's product of matrices.
#pragma once

#include <cstddef>
#include <memory>
#include <moe/core/executor.hpp>
#include <vector>

#include "../support/machine.hpp"
#include "peer.hpp"
#include "routing.hpp"

namespace bench {

/// Who has the threads: the loop over the experts, each of whose products then runs in one thread, or the products.
enum class Threads { of_experts, of_products };

/// Calls f(e) for each expert that has tokens.
template <class F>
void for_each_expert(const Routed& routed, const Shape& shape, Threads threads, F&& f) {
  const auto run = [&](Index e) {
    if (routed.rows_of(e) > 0) f(e);
  };
  if (threads == Threads::of_experts)
    executor_of(default_threads()).parallel_for(shape.experts, run);
  else
    moe::Serial{}.parallel_for(shape.experts, run);
}

/// The activation of a row of hidden units, and its gradient: plain arrays, which Eigen vectorises.
struct Activate {
  using Values = Eigen::Map<Eigen::ArrayXf>;
  using ConstValues = Eigen::Map<const Eigen::ArrayXf>;

  Activation activation;

  void forward(Index count, const float* gate_row, const float* up_row, float* hidden_row) const {
    const ConstValues gate(gate_row, count);
    Values hidden(hidden_row, count);
    if (activation == Activation::swiglu)
      hidden = gate / (1 + (-gate).exp()) * ConstValues(up_row, count);
    else if (activation == Activation::relu)
      hidden = gate.max(0.0f);
    else
      hidden = 0.5f * gate * (1 + (slope * (gate + cubic * gate.cube())).tanh());
  }

  /// From the gradient of the hidden units, which dgate holds; dup is for gated units alone.
  void backward(Index count, const float* gate_row, const float* up_row, float* dgate_row, float* dup_row) const {
    const ConstValues gate(gate_row, count);
    Values dgate(dgate_row, count);
    if (activation == Activation::swiglu) {
      const Eigen::ArrayXf sigmoid = 1 / (1 + (-gate).exp());
      Values(dup_row, count) = dgate * gate * sigmoid;
      dgate *= ConstValues(up_row, count) * sigmoid * (1 + gate * (1 - sigmoid));
    } else if (activation == Activation::relu) {
      dgate = (gate > 0.0f).select(dgate, 0.0f);
    } else {
      const Eigen::ArrayXf tanh = (slope * (gate + cubic * gate.cube())).tanh();
      dgate *= 0.5f * (1 + tanh + gate * (1 - tanh.square()) * slope * (1 + 3 * cubic * gate.square()));
    }
  }

  static constexpr float slope = 0.7978845608f, cubic = 0.044715f;  // sqrt(2 / pi)
};

/// `Products` has the three products of training, static: outputs(x, w, y): y = x w'; inputs(dy, w, dx, add):
/// dx (+)= dy w; weights(dy, x, dw): dw += dy' x.
template <class Products>
class PerExpert final : public Peer {
 public:
  PerExpert(const Problem& problem, Threads threads, Pass pass)
      : problem_(problem), shape_(problem.shape), threads_(threads), activate_{problem.activation} {
    const Index slots = shape_.tokens * shape_.k;
    routed_.logits_TE.resize(shape_.tokens, shape_.experts);
    for (Rows* rows : {&gate_NF_, &up_NF_, &hidden_NF_}) rows->resize(slots, shape_.hidden);
    y_ND_.resize(slots, shape_.width);
    if (pass == Pass::forward) return;
    for (Rows* rows : {&dgate_NF_, &dup_NF_}) rows->resize(slots, shape_.hidden);
    dx_ND_.resize(slots, shape_.width);
    y_TD_.resize(shape_.tokens, shape_.width);
    drouter_ED_.setZero(shape_.experts, shape_.width);
    dw1_EFD_.setZero(problem.w1_EFD.rows(), problem.w1_EFD.cols());
    dw3_EFD_.setZero(problem.w3_EFD.rows(), problem.w3_EFD.cols());
    dw2_EDF_.setZero(problem.w2_EDF.rows(), problem.w2_EDF.cols());
  }

  void forward(Rows& y_TD) override {
    Products::outputs(problem_.x_TD, problem_.router_ED, routed_.logits_TE);
    routed_.decide(shape_);
    routed_.gather(problem_.x_TD, x_ND_);
    for_each_expert(routed_, shape_, threads_, [&](Index e) { expert_forward(e); });
    routed_.combine(y_ND_, y_TD);
  }

  void train(Rows& dx_TD) override {
    forward(y_TD_);
    routed_.combine_backward(problem_.dy_TD, y_ND_, dy_ND_);
    for_each_expert(routed_, shape_, threads_, [&](Index e) { expert_backward(e); });
    routed_.logits_gradient(dlogits_TE_);
    Products::weights(dlogits_TE_, problem_.x_TD, drouter_ED_);
    Products::inputs(dlogits_TE_, problem_.router_ED, dx_TD, false);
    routed_.add_slots(dx_ND_, dx_TD);
  }

  Rows gradient(Part part, Index e) override {
    switch (part) {
      case Part::router:
        return drouter_ED_;
      case Part::w1:
        return dw1_EFD_.middleRows(e * shape_.hidden, shape_.hidden);
      case Part::w3:
        return dw3_EFD_.middleRows(e * shape_.hidden, shape_.hidden);
      case Part::w2:
        break;
    }
    return dw2_EDF_.middleRows(e * shape_.width, shape_.width);
  }

 private:
  auto slots(Rows& rows, Index e) const { return rows.middleRows(routed_.begin_of(e), routed_.rows_of(e)); }

  void expert_forward(Index e) {
    auto gate = slots(gate_NF_, e), up = slots(up_NF_, e), hidden = slots(hidden_NF_, e);
    Products::outputs(slots(x_ND_, e), problem_.w1(e), gate);
    if (problem_.gated()) Products::outputs(slots(x_ND_, e), problem_.w3(e), up);
    for (Index n = 0; n < gate.rows(); ++n)
      activate_.forward(gate.cols(), gate.row(n).data(), up.row(n).data(), hidden.row(n).data());
    Products::outputs(hidden, problem_.w2(e), slots(y_ND_, e));
  }

  void expert_backward(Index e) {
    auto dy = slots(dy_ND_, e), x = slots(x_ND_, e), dgate = slots(dgate_NF_, e), dup = slots(dup_NF_, e);
    auto gate = slots(gate_NF_, e), up = slots(up_NF_, e);
    Products::inputs(dy, problem_.w2(e), dgate, false);
    Products::weights(dy, slots(hidden_NF_, e), dw2_EDF_.middleRows(e * shape_.width, shape_.width));
    for (Index n = 0; n < gate.rows(); ++n)
      activate_.backward(gate.cols(), gate.row(n).data(), up.row(n).data(), dgate.row(n).data(), dup.row(n).data());
    Products::weights(dgate, x, dw1_EFD_.middleRows(e * shape_.hidden, shape_.hidden));
    Products::inputs(dgate, problem_.w1(e), slots(dx_ND_, e), false);
    if (!problem_.gated()) return;
    Products::weights(dup, x, dw3_EFD_.middleRows(e * shape_.hidden, shape_.hidden));
    Products::inputs(dup, problem_.w3(e), slots(dx_ND_, e), true);
  }

  const Problem& problem_;
  const Shape shape_;
  const Threads threads_;
  const Activate activate_;
  Routed routed_;
  Rows x_ND_, y_ND_, gate_NF_, up_NF_, hidden_NF_, y_TD_;
  Rows dx_ND_, dy_ND_, dgate_NF_, dup_NF_, dlogits_TE_, drouter_ED_, dw1_EFD_, dw3_EFD_, dw2_EDF_;
};

template <class Products>
std::vector<Way> ways_of() {
  const auto way = [](const char* name, Threads threads) {
    return Way{name, [threads](const Problem& problem, Pass pass) {
                 return std::make_unique<PerExpert<Products>>(problem, threads, pass);
               }};
  };
  return {way("experts in parallel", Threads::of_experts), way("products in parallel", Threads::of_products)};
}

}  // namespace bench
