// All objectives honour one contract: value is without any coefficient; backward takes a scale right before the
// gradients, adds scale * d(value) to them and leaves what was there.
#include <gtest/gtest.h>

#include <random>
#include <tuple>
#include <vector>

#include "moe/moe.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace one_contract_test {

/// backward(scale, gradients...): that of some objective on some example.
template <class Backward, class... Gradients>
void expect_contract(const char* what, const Backward& backward, const Gradients&... zeros) {
  const auto of = [&](double scale, double before) {
    std::tuple<Gradients...> gradients((zeros.array() + before).matrix()...);
    std::apply([&](auto&... gradient) { backward(scale, gradient...); }, gradients);
    return gradients;
  };
  const auto once = of(1, 0), scaled = of(-2.5, 0), added = of(1, 100), none = of(0, 7);
  const auto check = [&](const auto& g, const auto& g_scaled, const auto& g_added, const auto& g_none) {
    EXPECT_GT(g.cwiseAbs().maxCoeff(), 0) << what;
    EXPECT_TRUE(g_scaled.isApprox(-2.5 * g, 1e-13)) << what << " scales";
    EXPECT_TRUE(((g_added.array() - 100).matrix() - g).cwiseAbs().maxCoeff() < 1e-12) << what << " adds";
    EXPECT_TRUE((g_none.array() == 7).all()) << what << " with scale 0 changes nothing";
  };
  std::apply(
      [&](const auto&... g) {
        std::apply(
            [&](const auto&... s) {
              std::apply(
                  [&](const auto&... a) { std::apply([&](const auto&... n) { (check(g, s, a, n), ...); }, none); },
                  added);
            },
            scaled);
      },
      once);
}

TEST(Objectives, AddScaleTimesTheGradientOfTheValue) {
  const auto y = support::random_matrix<double>(4, 3, 1), target = support::random_matrix<double>(4, 3, 2);
  const Matrix<double> zeros = Matrix<double>::Zero(4, 3);
  const auto on_outputs = [&](const char* what, const auto& loss, const auto& wanted) {
    expect_contract(
        what, [&](double scale, Matrix<double>& dy) { loss.backward(y, wanted, scale, dy); }, zeros);
  };
  on_outputs("cross-entropy", CrossEntropyLoss{}, std::vector<Index>{0, 2, -1, 1});
  on_outputs("squared distillation", MeanSquaredDistillation{}, target);
  on_outputs("soft labels", SoftLabelDistillation{.temperature = 2}, target);
  on_outputs("symmetric soft labels", SoftLabelDistillation{.symmetric = true}, target);
  const auto on_weights = [&](const char* what, const auto& loss) {
    expect_contract(
        what, [&](double scale, Matrix<double>& dw) { loss.backward(y, scale, dw); }, zeros);
  };
  for (const bool squared : {false, true}) on_weights("expert diversity", ExpertDiversityLoss{squared});
  for (const bool mean : {false, true}) on_weights("orthogonality", RouterOrthogonalityLoss{mean});
  on_weights("similarity", SimilarityBalanceLoss{});
}

TEST(Objectives, OnSlotsToo) {
  std::mt19937_64 rng(3);
  const Layer layer{Router<double>::random(3, 4, rng), TopK{.k = 2}, make_experts<Linear<double>>(3, 4, 2, rng)};
  const auto x = support::random_matrix<double>(5, 4, 1), target = support::random_matrix<double>(5, 2, 2);
  decltype(layer)::Tape tape;
  layer.forward(x, tape);
  const auto on_slots = [&](const char* what, const auto& loss) {
    expect_contract(
        what,
        [&](double scale, Matrix<double>& dy_NO, Vector<double>& dweight_N) {
          loss.backward(tape.plan, tape.y_NO, target, scale, dy_NO, dweight_N);
        },
        Matrix<double>(Matrix<double>::Zero(tape.plan.slots(), 2)),
        Vector<double>(Vector<double>::Zero(tape.plan.slots())));
  };
  on_slots("cooperative", CooperativeLoss{});
  on_slots("competitive", CompetitiveLoss{});
  on_slots("likelihood", MixtureNegativeLogLikelihood{.variance = 0.5});
}

}  // namespace one_contract_test
}  // namespace moe
