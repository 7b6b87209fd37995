#include "moe/testing/check_gradients.hpp"

#include <gtest/gtest.h>

#include <random>
#include <sstream>
#include <string>

#include "moe/moe.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace check_gradients_test {

using testing::check_gradients;

/// y = x .* scale, with a fault of choice in its backward pass.
struct Scaling {
  enum class Fault { none, wrong_input_gradient, wrong_parameter_gradient, nan_in_first_entry, no_gradient };

  Vector<double> scale_D;
  Fault fault = Fault::none;

  struct Tape {};

  void forward(ConstMatrixRef<double> x, MatrixRef<double> y, Tape&) const { y = x * scale_D.asDiagonal(); }
  void backward(ConstMatrixRef<double> x, ConstMatrixRef<double> dy, Tape&, MatrixRef<double> dx,
                Scaling& gradient) const {
    dx = dy * scale_D.asDiagonal();
    if (fault == Fault::wrong_input_gradient) dx(0, 0) += 1e-3;
    if (fault == Fault::nan_in_first_entry) dx(0, 0) = support::nan_of<double>;
    if (fault == Fault::no_gradient) return;
    gradient.scale_D += x.cwiseProduct(dy).colwise().sum().transpose();
    if (fault == Fault::wrong_parameter_gradient) gradient.scale_D *= 1.001;
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
  }
};

/// y = |x|: a kink at 0.
struct Absolute {
  struct Tape {};
  void forward(ConstMatrixRef<double> x, MatrixRef<double> y, Tape&) const { y = x.cwiseAbs(); }
  void backward(ConstMatrixRef<double> x, ConstMatrixRef<double> dy, Tape&, MatrixRef<double> dx, Absolute&) const {
    dx = (dy.array() * x.array().sign()).matrix();
  }
  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
};

const Matrix<double> x{{1, 2, 3}, {-1, 0.5, 2}};

testing::GradientReport check(Scaling::Fault fault) {
  return check_gradients(Scaling{Vector<double>{{1, -2, 3}}, fault}, x);
}

TEST(CheckGradients, ARightBackwardPassPasses) {
  const auto report = check(Scaling::Fault::none);
  EXPECT_TRUE(report);
  EXPECT_EQ(report.checked, 6 + 3);
  EXPECT_EQ(report.kinks, 0);
  EXPECT_LT(report.worst, 1e-9);
}

TEST(CheckGradients, AWrongInputGradientIsFoundAndNamed) {
  const auto report = check(Scaling::Fault::wrong_input_gradient);
  EXPECT_FALSE(report);
  EXPECT_EQ(report.where, "x[0]");
  EXPECT_NEAR(report.computed - report.expected, 1e-3, 1e-8);
}

TEST(CheckGradients, AWrongParameterGradientIsFoundAndNamed) {
  const auto report = check(Scaling::Fault::wrong_parameter_gradient);
  EXPECT_FALSE(report);
  EXPECT_EQ(report.where.substr(0, 6), "scale[");
}

TEST(CheckGradients, AForgottenGradientIsFound) { EXPECT_FALSE(check(Scaling::Fault::no_gradient)); }

TEST(CheckGradients, NaNIsFoundEvenIfTheEntriesAfterItAgree) {
  const auto report = check(Scaling::Fault::nan_in_first_entry);
  EXPECT_FALSE(report);
  EXPECT_EQ(report.where, "x[0]");
}

TEST(CheckGradients, AnEntryNextToAKinkIsLeftOut) {
  Matrix<double> next_to_kink = Matrix<double>::Constant(2, 5, 3);
  next_to_kink(1, 1) = 1e-5;
  const auto report = check_gradients(Absolute{}, next_to_kink);
  EXPECT_TRUE(report);
  EXPECT_EQ(report.kinks, 1);
  EXPECT_EQ(report.checked, 9);
}

TEST(CheckGradients, TooManyKinksShowNothing) {
  EXPECT_FALSE(check_gradients(Absolute{}, Matrix<double>::Constant(2, 5, 1e-5)));
}

TEST(CheckGradients, OfALargeTensorAsManyEntriesAreDrawnAsAsked) {
  const Matrix<double> large = support::random_matrix<double>(50, 3, 1);
  const auto report = check_gradients(Scaling{Vector<double>{{1, -2, 3}}}, large, {.entries = 20});
  EXPECT_TRUE(report);
  EXPECT_EQ(report.checked, 20 + 3);
}

TEST(CheckGradients, TheExpertIsLeftAsItWas) {
  const Scaling expert{Vector<double>{{1, -2, 3}}};
  EXPECT_TRUE(check_gradients(expert, x));
  EXPECT_EQ(expert.scale_D, (Vector<double>{{1, -2, 3}}));
}

TEST(CheckGradients, AReportPrintsItsVerdictAndItsWorstEntry) {
  std::ostringstream right, wrong;
  right << check(Scaling::Fault::none);
  wrong << check(Scaling::Fault::wrong_input_gradient);
  EXPECT_EQ(right.str().find("gradients agree: 9 entries"), 0u) << right.str();
  EXPECT_EQ(wrong.str().find("GRADIENTS DIFFER"), 0u);
  EXPECT_NE(wrong.str().find("at x[0]"), std::string::npos);
}

TEST(CheckGradients, ALayerIsCheckedWithItsRouterNoiseAndLosses) {
  std::mt19937_64 generator{1};
  const Layer layer{Router<double>::random(3, 4, generator), NoisyTopK<double>::zeros(3, 4, {.k = 2}),
                    make_experts<SwiGlu<double>>(3, 4, 5, generator),
                    Losses{ImportanceLoss{.coefficient = 0.1}, LoadLoss{.coefficient = 0.1}}};
  const auto report = testing::check_layer_gradients(layer, support::random_matrix<double>(6, 4, 2), {.tape_seed = 3});
  EXPECT_TRUE(report) << report;
  EXPECT_EQ(report.checked + report.kinks, 24 + parameter_count(layer));
}

}  // namespace check_gradients_test
}  // namespace moe
