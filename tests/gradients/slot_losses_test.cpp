// The 1991 objectives through backward_from_slots: values against the reference, gradients against differences.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "check_case.hpp"
#include "check_slots.hpp"

namespace gradients {
namespace slot_losses_test {

template <class G, class SlotLoss>
void check_slot_loss(Summary& summary, const std::string& name, Index experts, const G& gate, const Setting& setting,
                     const SlotLoss& slot_loss) {
  constexpr Index outputs = 3;
  std::mt19937_64 rng(7);
  const moe::Matrix<double> target_TO = support::random_matrix(setting.tokens, outputs, rng);
  const auto draw = [&](std::mt19937_64& generator) {
    return moe::Layer{support::random_router(experts, width, generator), gate,
                      support::random_experts<moe::Linear<double>>(experts, width, outputs, generator),
                      all_losses(summary.cases), setting.room.capacity()};
  };
  check_case(summary, name, setting, draw, [&](const auto& layer, const moe::Matrix<double>& x_TD) {
    auto tape = typename std::decay_t<decltype(layer)>::Tape();
    layer.forward(setting.batch(x_TD), tape);
    const double value = slot_loss.template value<double>(tape.plan, tape.y_NO, target_TO);
    const auto result = reference::forward(layer, setting.batch(x_TD), setting.room, nullptr);
    const double expected = reference::slot_loss(slot_loss, result, target_TO);
    expect_close(summary, "the slot loss", value, expected, std::abs(expected));
    return check_slot_gradients(layer, setting, x_TD, slot_loss, target_TO);
  });
}

template <class SlotLoss>
void check_slot_loss(Summary& summary, const std::string& name, const SlotLoss& slot_loss) {
  for (const Setting& setting : {Setting{.tokens = 1}, Setting{.tokens = 9},
                                 Setting{.tokens = 7, .room = {.factor = 0.6}, .valid = {1, 1, 0, 1, 1, 1, 0}}}) {
    check_slot_loss(summary, name + ", dense", 1, moe::Softmax{}, setting, slot_loss);
    check_slot_loss(summary, name + ", dense", 4, moe::Softmax{}, setting, slot_loss);
    check_slot_loss(summary, name + ", top-k", 4, moe::TopK{.k = 2}, setting, slot_loss);
  }
}

TEST(GradientGrid, Cooperative) {
  Summary summary("cooperative loss");
  check_slot_loss(summary, "cooperative", moe::CooperativeLoss{});
}

TEST(GradientGrid, Competitive) {
  Summary summary("competitive loss");
  check_slot_loss(summary, "competitive", moe::CompetitiveLoss{});
}

TEST(GradientGrid, MixtureNegativeLogLikelihood) {
  Summary summary("mixture negative log-likelihood");
  check_slot_loss(summary, "variance 1", moe::MixtureNegativeLogLikelihood{});
  check_slot_loss(summary, "variance 0.7", moe::MixtureNegativeLogLikelihood{.variance = 0.7});
}

}  // namespace slot_losses_test
}  // namespace gradients
