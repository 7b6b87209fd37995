// Auxiliary losses in their differing normalisations, on given logits.
#include <set>
#include <string>

#include "golden.hpp"
#include "moe/loss/entropy.hpp"
#include "moe/loss/importance.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"

namespace loss_bundle_test {

using namespace golden;
using moe::ImportanceLoss;
using moe::LoadBalanceLoss;
using moe::Variance;
using Count = LoadBalanceLoss::Count;

class LossBundle : public testing::TestWithParam<const char*> {};

TEST_P(LossBundle, Fixture) {
  Fixture fixture(GetParam());
  const Index experts = fixture.size("E");
  const auto layer = logits_layer(experts, TopK{.k = fixture.size("k"), .weights = ChoiceWeights::renormalized()});
  decltype(layer)::Tape tape;
  const Matrix<double> logits = fixture.matrix<double>("logits");
  layer.forward(logits, tape);
  fixture.expect(values_of(tape.routing));

  const auto expect_loss = [&](const std::string& name, const auto& loss) {
    fixture.expect(loss_values("aux." + name, layer, logits, {}, loss));
  };
  const double mean_of_products = 1 / static_cast<double>(experts * experts);
  expect_loss("switch", LoadBalanceLoss{.coefficient = 1, .count = Count::first_choices});
  expect_loss("gshard_mean", LoadBalanceLoss{.coefficient = mean_of_products, .count = Count::first_choices});
  expect_loss("topk_sum", LoadBalanceLoss{.coefficient = 1, .count = Count::all_choices});
  expect_loss("topk_share", LoadBalanceLoss{.coefficient = 1, .count = Count::all_choices_share});
  expect_loss("z", moe::RouterZLoss{.coefficient = 1});
  expect_loss("cv2_population", ImportanceLoss{.coefficient = 1, .epsilon = 0});
  expect_loss("cv2_unbiased", ImportanceLoss{.coefficient = 1, .variance = Variance::unbiased, .epsilon = 0});
  expect_loss("cv2_eps", ImportanceLoss{.coefficient = 1, .variance = Variance::unbiased, .epsilon = 1e-10});
  using Entropy = moe::EntropyLoss;
  fixture.expect(loss_values("aux.entropy", layer, logits, {}, Entropy{.coefficient = 1}));
  fixture.expect(loss_values("aux.neg_entropy_of_mean", layer, logits, {},
                             Entropy{.coefficient = 1, .kind = Entropy::Kind::global}));
  fixture.finish();
}

INSTANTIATE_TEST_SUITE_P(LossBundle, LossBundle, testing::Values("loss_bundle", "loss_bundle_logits80"));

}  // namespace loss_bundle_test
