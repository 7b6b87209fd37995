// Soft MoE, plain and with normalised tokens and slots, groups and padding.
#include <random>
#include <stdexcept>
#include <string>

#include "golden.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/layer/soft_layer.hpp"

namespace soft_moe_test {

using namespace golden;
using X = moe::Mlp<double, moe::Gelu>;
using Soft = moe::SoftLayer<double, X>;

void expect_soft(Fixture& fixture, const Soft& layer, const Batch<double>& batch, bool by_input) {
  Soft::Tape tape;
  Soft gradient = moe::zeros_like(layer);
  const auto y = layer.forward(batch, tape);
  Values values{{"y", flat(y)},
                {"logits", flat(tape.logits_TP)},
                {"dispatch", flat(tape.dispatch_TP)},
                {"combine", flat(tape.combine_TP)},
                {"slot_in", flat(tape.x_ND)},
                {"slot_out", flat(tape.y_NO)}};
  values["grad.x"] = flat(layer.backward(batch, fixture.matrix<double>("dy"), tape, gradient));
  add_parameters(gradient, "grad.", values);
  values["grad.norm.gamma"] = flat(gradient.token_gain_D), values["grad.slot_norm.gamma"] = flat(gradient.slot_gain_D);
  if (by_input) values["grad.phi"] = flat(gradient.slot_PD.transpose());  // (D, slots) there
  fixture.expect(values);
}

TEST(SoftMoe, Plain) {
  Fixture fixture("soft_moe_plain");
  const Matrix<double> x = fixture.matrix<double>("x");
  expect_soft(fixture, Soft(fixture.matrix<double>("phi").transpose(), experts_of<X>(fixture)), x, true);
  fixture.finish();
}

TEST(SoftMoe, InferenceIsThePlainPassWithoutABackwardPass) {
  std::mt19937_64 rng(1);
  const Soft layer(moe::random_matrix<double>(4, 5, rng), {X::random(5, 6, rng), X::random(5, 6, rng)});
  const Matrix<double> x = moe::random_matrix<double>(7, 5, rng);
  Soft::Tape kept, tape;
  tape.keep_activations = false;
  const Matrix<double> y = layer.forward(x, kept);
  EXPECT_EQ(layer.forward(x, tape), y);
  EXPECT_EQ(layer.forward(x), y);
  Soft gradient = moe::zeros_like(layer);
  EXPECT_THROW(layer.backward(x, y, tape, gradient), std::invalid_argument);
  EXPECT_TRUE(moe::flatten(gradient).isZero(0));
}

class SoftMoeNormalized : public testing::TestWithParam<const char*> {};

TEST_P(SoftMoeNormalized, Fixture) {
  Fixture fixture(GetParam());
  const Matrix<double> x = fixture.matrix<double>("x");
  const auto slots = fixture.values<double>("slots");
  Soft layer(Eigen::Map<const Matrix<double>>(slots.data(), static_cast<Index>(slots.size()) / x.cols(), x.cols()),
             experts_of<X>(fixture), {.normalize = true, .padding_gets_mean = true});
  layer.token_gain_D = fixture.matrix<double>("norm.gamma");
  layer.slot_gain_D = fixture.matrix<double>("slot_norm.gamma");
  Batch<double> batch = x;
  batch.group_size = fixture.size("group_size");
  std::vector<std::uint8_t> mask;
  if (fixture.contains("mask")) mask = fixture.values<std::uint8_t>("mask");
  batch.valid = mask;
  // Masked logits are a large negative number there.
  expect_soft(fixture, layer, batch, false);
  fixture.finish();
}

INSTANTIATE_TEST_SUITE_P(SoftMoe, SoftMoeNormalized, testing::Values("soft_moe_basic", "soft_moe_masked"));

}  // namespace soft_moe_test
