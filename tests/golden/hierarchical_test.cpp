// The hierarchical mixture of 1994: a layer of layers of linear experts.
#include <string>
#include <vector>

#include "golden.hpp"
#include "moe/gating/softmax.hpp"
#include "moe/objective/hierarchical_mixture.hpp"

namespace hierarchical_test {

using namespace golden;
using Inner = Layer<moe::Router<double>, moe::Softmax, moe::Linear<double>>;
using Outer = Layer<moe::Router<double>, moe::Softmax, Inner>;

Outer outer_of(Fixture& fixture) {
  std::vector<Inner> branches;
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(fixture.size("E_outer")); ++i) {
    std::vector<moe::Linear<double>> experts;
    for (std::uint64_t j = 0; j < static_cast<std::uint64_t>(fixture.size("E_inner")); ++j)
      experts.push_back({fixture.matrix<double>("experts.w", {i, j}), fixture.matrix<double>("experts.b", {i, j})});
    branches.push_back(
        Inner({fixture.matrix<double>("router.inner.weight", {i}), fixture.matrix<double>("router.inner.bias", {i})},
              moe::Softmax{}, experts));
  }
  return Outer({fixture.matrix<double>("router.outer.weight"), fixture.matrix<double>("router.outer.bias")},
               moe::Softmax{}, branches);
}

void add_gradient(const Outer& gradient, const std::string& prefix, Values& values) {
  const auto append = [&](const std::string& name, const auto& parameter) {
    const auto one = flat(parameter);
    values[prefix + name].insert(values[prefix + name].end(), one.begin(), one.end());
  };
  append("router.outer.weight", gradient.router.weight_ED), append("router.outer.bias", gradient.router.bias_E);
  for (const Inner& inner : gradient.experts) {
    append("router.inner.weight", inner.router.weight_ED), append("router.inner.bias", inner.router.bias_E);
    for (const auto& expert : inner.experts) append("experts.w", expert.weight_OD), append("experts.b", expert.bias_O);
  }
}

TEST(Hierarchical, MixtureOf1994) {
  Fixture fixture("hme_1994");
  const Outer layer = outer_of(fixture);
  const Matrix<double> x = fixture.matrix<double>("x"), target = fixture.matrix<double>("target");
  Outer::Tape tape;
  Outer gradient = moe::zeros_like(layer);
  Values values{{"y", flat(layer.forward(x, tape))}};
  values["grad.x"] = flat(layer.backward(x, fixture.matrix<double>("dy"), tape, gradient));
  add_gradient(gradient, "grad.", values);

  const moe::HierarchicalMixtureLoss loss{.variance = fixture.number("sigma2")};
  moe::set_zero(gradient);
  values["aux.nll"] = {loss.value(tape, target)};
  const Vector<double> responsibility_N = loss.responsibilities(tape, target);
  Matrix<double> outer_TI(x.rows(), tape.plan.experts());
  for (Index slot = 0; slot < tape.plan.slots(); ++slot) {
    const auto& c = tape.routing.choices[at(tape.plan.choice[at(slot)])];
    outer_TI(c.token, c.expert) = responsibility_N(slot);
  }
  values["posterior.outer"] = flat(outer_TI), values["probs.outer"] = flat(tape.routing.probabilities_TE);
  EXPECT_EQ(loss.value(tape, (target + target) / 2), loss.value(tape, target));  // an expression too
  values["aux.nll.grad.x"] = flat(loss.backward(layer, x, target, tape, 1, gradient));
  add_gradient(gradient, "aux.nll.grad.", values);
  fixture.expect(values);
  fixture.finish({"nll.per_token", "posterior", "posterior.inner", "probs.inner"});  // follow from the others
}

}  // namespace hierarchical_test
