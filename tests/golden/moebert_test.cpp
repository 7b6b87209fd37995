// MoEBERT: routing by a learned gate, the importance of hidden units, and the split by it.
#include <string_view>
#include <vector>

#include "golden.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/switch_top1.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/surgery/neuron_importance.hpp"

namespace moebert_test {

using namespace golden;
using X = moe::Mlp<double, moe::Gelu>;

TEST(MoeBert, GateByToken) {
  Fixture fixture("moebert_gate_token");
  const Layer layer{router_of<double>(fixture), moe::switch_top1(), experts_of<X>(fixture)};
  decltype(Layer{layer})::Tape tape;
  const Matrix<double> x = fixture.matrix<double>("x");
  fixture.expect(task_values(layer, x, fixture.matrix<double>("dy"), tape));
  fixture.expect(loss_values("aux.balance", layer, x, {}, moe::LoadBalanceLoss{.coefficient = 1}));
  fixture.finish();
}

TEST(MoeBert, NeuronImportance) {
  Fixture fixture("moebert_importance");
  const X network{fixture.matrix<double>("dense.w1"), fixture.matrix<double>("dense.w2"),
                  fixture.matrix<double>("dense.b1"), fixture.matrix<double>("dense.b2")};
  const Matrix<double> x = fixture.matrix<double>("x"), target = fixture.matrix<double>("target");
  Matrix<double> y(x.rows(), target.cols()), dx(x.rows(), x.cols());
  Vector<double> importance;
  X total = moe::zeros_like(network);
  X::Tape tape;
  for (Index t = 0; t < x.rows(); ++t) {
    X gradient = moe::zeros_like(network);
    network.forward(x.row(t), y.row(t), tape);
    network.backward(x.row(t), y.row(t) - target.row(t), tape, dx.row(t), gradient);
    moe::add_neuron_importance(network, gradient, importance);
    moe::for_each_parameter([](std::string_view, auto& sum, const auto& one) { sum += one; }, total, gradient);
  }
  Values values{
      {"y", flat(y)}, {"importance", flat(importance)}, {"order", flat(moe::order_by_importance(importance))}};
  values["aux.half_sse"] = {(y - target).squaredNorm() / 2}, values["aux.half_sse.grad.x"] = flat(dx);
  add_parameters(total, "aux.half_sse.grad.dense.", values);
  fixture.expect(values);
  fixture.finish();
}

TEST(MoeBert, SplitByImportance) {
  Fixture fixture("moebert_split");
  const Vector<double> importance = fixture.matrix<double>("importance");
  const auto order = moe::order_by_importance(importance);
  std::vector<double> units;
  for (const auto& own :
       moe::split_by_importance(order, fixture.size("E"), fixture.size("share"), fixture.size("expert_dim")))
    units.insert(units.end(), own.begin(), own.end());
  fixture.expect("order", flat(order));
  fixture.expect("expert_neurons", units);
  fixture.finish();
}

}  // namespace moebert_test
