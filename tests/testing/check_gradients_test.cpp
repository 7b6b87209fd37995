#include "moe/testing/check_gradients.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "moe/moe.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace check_gradients_test {

using testing::check_gradients;

/// y = x .* scale, with a fault of choice in its backward pass.
struct Scaling {
  enum class Fault {
    none,
    wrong_input_gradient,
    wrong_parameter_gradient,
    nan_in_first_entry,
    no_gradient,
    adds_to_dx,
    leaves_a_row,
    writes_over_gradient,
  };

  Vector<double> scale_D;
  Fault fault = Fault::none;

  struct Tape {};

  void forward(ConstMatrixRef<double> x, MatrixRef<double> y, Tape&) const { y = x * scale_D.asDiagonal(); }
  void backward(ConstMatrixRef<double> x, ConstMatrixRef<double> dy, Tape&, MatrixRef<double> dx,
                Scaling& gradient) const {
    if (fault == Fault::adds_to_dx)
      dx += dy * scale_D.asDiagonal();
    else if (fault == Fault::leaves_a_row)
      dx.bottomRows(1) = dy.bottomRows(1) * scale_D.asDiagonal();
    else
      dx = dy * scale_D.asDiagonal();
    if (fault == Fault::wrong_input_gradient) dx(0, 0) += 1e-3;
    if (fault == Fault::nan_in_first_entry) dx(0, 0) = support::nan_of<double>;
    if (fault == Fault::no_gradient) return;
    if (fault == Fault::writes_over_gradient) gradient.scale_D.setZero();
    gradient.scale_D += x.cwiseProduct(dy).colwise().sum().transpose();
    if (fault == Fault::wrong_parameter_gradient) gradient.scale_D *= 1.001;
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
  }
};

/// y = x .* scale + shift, and a visitor that may forget the shift, or name the scale twice.
template <bool forgets, bool repeats>
struct ScalingAndShift {
  Vector<double> scale_D, shift_D;

  struct Tape {};

  void forward(ConstMatrixRef<double> x, MatrixRef<double> y, Tape&) const {
    y = (x * scale_D.asDiagonal()).rowwise() + shift_D.transpose();
  }
  void backward(ConstMatrixRef<double> x, ConstMatrixRef<double> dy, Tape&, MatrixRef<double> dx,
                ScalingAndShift& gradient) const {
    dx = dy * scale_D.asDiagonal();
    gradient.scale_D += x.cwiseProduct(dy).colwise().sum().transpose();
    gradient.shift_D += dy.colwise().sum().transpose();
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
    if (!forgets) f("shift", self.shift_D...);
    if (repeats) f("scale", self.scale_D...);
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

/// The report fails, and a sentence of it says so.
void expect_named(const testing::GradientReport& report, const std::string& fault) {
  std::ostringstream out;
  out << report;
  EXPECT_FALSE(report);
  EXPECT_NE(out.str().find("; "), std::string::npos) << out.str();
  EXPECT_NE(out.str().find(fault), std::string::npos) << out.str();
}

TEST(CheckGradients, TheUsualSlipsAreNamed) {
  expect_named(check(Scaling::Fault::adds_to_dx), "backward adds to dx, which it must write (dx =, not dx +=)");
  expect_named(check(Scaling::Fault::leaves_a_row), "backward leaves 3 entries of dx unwritten");
  expect_named(check(Scaling::Fault::writes_over_gradient), "backward writes over the gradient of 'scale'");
  for (const auto fault : {Scaling::Fault::none, Scaling::Fault::wrong_input_gradient, Scaling::Fault::no_gradient})
    EXPECT_TRUE(check(fault).faults.empty()) << check(fault);
}

template <bool forgets, bool repeats>
testing::GradientReport check_shift() {
  return check_gradients(ScalingAndShift<forgets, repeats>{Vector<double>{{1, -2, 3}}, Vector<double>{{1, 0, 2}}}, x);
}

TEST(CheckGradients, AForgottenParameterIsSeenByItsGradient) {
  EXPECT_TRUE((check_shift<false, false>()));
  expect_named(check_shift<true, false>(), "visit_parameters does not name: it forgets a parameter");
  expect_named(check_shift<false, true>(), "visit_parameters names 'scale' or its values twice");
}

template <class X>
testing::GradientReport check_in_a_layer(const X& expert) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<double>::random(3, 3, rng), TopK{.k = 2}, std::vector<X>(3, expert)};
  return testing::check_layer_gradients(layer, support::random_matrix<double>(6, 3, 2));
}

TEST(CheckGradients, SlipsOfAnExpertAreNamedInALayerToo) {
  const Vector<double> scale{{1, -2, 3}};
  EXPECT_TRUE(check_in_a_layer(Scaling{scale}));
  expect_named(check_in_a_layer(Scaling{scale, Scaling::Fault::writes_over_gradient}),
               "writes over the gradient of 'experts.0.scale'");
  EXPECT_FALSE(check_in_a_layer(Scaling{scale, Scaling::Fault::no_gradient}));
  expect_named(check_in_a_layer(ScalingAndShift<true, false>{scale, scale}), "it forgets a parameter");
}

/// A loss on the logits that is the only one in its layer.
struct LogitSize {
  bool overwrites = false;
  double coefficient = 1;

  static constexpr std::string_view name() { return "logit size"; }
  double value(const Routing<double>& routing) const { return routing.logits_TE.squaredNorm() / 2; }
  void backward(const Routing<double>& routing, double scale, Routing<double>& drouting) const {
    if (overwrites) drouting.logits_TE.setZero();
    drouting.logits_TE += scale * routing.logits_TE;
  }
};

TEST(CheckGradients, ALossThatWritesOverTheRoutingsGradientIsNamed) {
  std::mt19937_64 rng(1);
  const auto check = [&](LogitSize loss) {
    const Layer layer{Router<double>::random(3, 3, rng), TopK{.k = 2}, make_experts<Linear<double>>(3, 3, 3, rng),
                      Losses{loss}};
    return testing::check_layer_gradients(layer, support::random_matrix<double>(6, 3, 2));
  };
  EXPECT_TRUE(check({})) << check({});
  expect_named(check({.overwrites = true}),
               "logit size: backward writes over 18 entries of drouting's logits_TE, to which it must add (+=, not =)");
}

TEST(CheckGradients, TooManyKinksAreSaidToBeThat) {
  Matrix<double> values = Matrix<double>::Constant(2, 5, 1e-5);
  const Matrix<double> slopes = Matrix<double>::Ones(2, 5);
  testing::GradientReport report;
  testing::check_tensor(
      "x", values.data(), slopes.data(), 10, [&] { return values.cwiseAbs().sum(); }, {}, report);
  std::ostringstream out;
  out << report;
  EXPECT_FALSE(report);
  EXPECT_EQ(out.str().find("GRADIENTS NOT SHOWN TO AGREE: 0 entries of 1 tensors"), 0u) << out.str();
  EXPECT_NE(out.str().find("10 of 10 entries of 'x' are next to kinks"), std::string::npos) << out.str();
}

// Its experts' directions are of length 0.02: a step of 1e-4 is a turn there, and looks like a kink.
TEST(CheckGradients, ACosineRouterHasNoKinks) {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    std::mt19937_64 rng(seed);
    const Layer layer{CosineRouter<double>::random(4, 5, 3, rng), TopK{.k = 2},
                      make_experts<Linear<double>>(4, 5, 5, rng)};
    const auto report = testing::check_layer_gradients(layer, support::random_matrix<double>(7, 5, seed));
    EXPECT_TRUE(report) << report;
    EXPECT_LT(report.worst, 1e-7) << report;
    EXPECT_LE(report.kinks, report.checked / 50) << report;
  }
}

TEST(CheckGradients, AReportPrintsItsVerdictAndItsWorstEntry) {
  std::ostringstream right, wrong;
  right << check(Scaling::Fault::none);
  wrong << check(Scaling::Fault::wrong_input_gradient);
  EXPECT_EQ(right.str().find("gradients agree: 9 entries of 2 tensors, "), 0u) << right.str();
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
