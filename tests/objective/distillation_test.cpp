#include "moe/objective/distillation.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>

#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace distillation_test {

using support::expect_invalid;

template <class L>
double value_of(const L& loss, const Matrix<double>& student, const Matrix<double>& teacher) {
  return loss.template value<double>(student, teacher);
}

/// Added to a gradient of 100.
template <class L>
Matrix<double> gradient_of(const L& loss, const Matrix<double>& student, const Matrix<double>& teacher, double scale) {
  Matrix<double> dstudent = Matrix<double>::Constant(student.rows(), student.cols(), 100);
  loss.template backward<double>(student, teacher, scale, dstudent);
  return dstudent;
}

TEST(MeanSquaredDistillation, IsTheMeanOverAllEntries) {
  const Matrix<double> student{{1, 2}, {3, 4}}, teacher{{1, 0}, {3, 0}};
  EXPECT_EQ(value_of(MeanSquaredDistillation{}, student, teacher), 5);  // (4 + 16) / 4
  EXPECT_EQ(gradient_of(MeanSquaredDistillation{}, student, teacher, 3),
            (Matrix<double>{{100, 103}, {100, 106}}));  // 3 * 2 / 4 * difference
}

// Logits ln p: the teacher says (3/4, 1/4), the student (1/2, 1/2).
const Matrix<double> student{{0, 0}}, teacher{{std::log(3.0), 0}};

TEST(SoftLabelDistillation, IsTheDivergenceFromTheTeacher) {
  EXPECT_NEAR(value_of(SoftLabelDistillation{}, student, teacher), 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-15);
  const Matrix<double> gradient = gradient_of(SoftLabelDistillation{}, student, teacher, 2);
  EXPECT_TRUE(gradient.isApprox(Matrix<double>{{99.5, 100.5}}, 1e-15)) << gradient;  // 2 (q - p)
}

TEST(SoftLabelDistillation, ATemperatureSoftensAndItsSquareScales) {
  // At temperature 1/2 the teacher says (9/10, 1/10); the value is a quarter of the divergence, the gradient half of
  // q - p.
  const SoftLabelDistillation loss{.temperature = 0.5};
  EXPECT_NEAR(value_of(loss, student, teacher), (0.9 * std::log(1.8) + 0.1 * std::log(0.2)) / 4, 1e-15);
  const Matrix<double> gradient = gradient_of(loss, student, teacher, 1);
  EXPECT_TRUE(gradient.isApprox(Matrix<double>{{99.8, 100.2}}, 1e-15)) << gradient;
}

TEST(SoftLabelDistillation, SymmetricIsTheMeanOfBothDivergences) {
  const SoftLabelDistillation loss{.symmetric = true};
  // (p - q) . (log p - log q) / 2, with p = (3/4, 1/4) and q = (1/2, 1/2)
  EXPECT_NEAR(value_of(loss, student, teacher), std::log(3.0) / 8, 1e-15);
  EXPECT_NEAR(value_of(loss, student, teacher), value_of(loss, teacher, student), 1e-15);
}

TEST(SoftLabelDistillation, TheGradientsAgreeWithDifferences) {
  Matrix<double> x{{0.3, -1.2, 2.0}, {1.5, 0.2, -0.4}};
  const Matrix<double> target{{-0.5, 0.1, 1.0}, {0.7, 0.9, -2.0}};
  for (const bool symmetric : {false, true}) {
    const SoftLabelDistillation loss{.temperature = 1.7, .symmetric = symmetric};
    const Matrix<double> gradient = gradient_of(loss, x, target, 3).array() - 100;
    testing::GradientReport report;
    testing::check_tensor(
        "student", x.data(), gradient.data(), x.size(), [&] { return 3 * value_of(loss, x, target); }, {}, report);
    EXPECT_TRUE(report) << report;
    EXPECT_EQ(report.checked, 6);
  }
}

TEST(SoftLabelDistillation, IsTheMeanOverRows) {
  const Matrix<double> two{{0, 0}, {std::log(3.0), 0}}, same{{std::log(3.0), 0}, {std::log(3.0), 0}};
  EXPECT_NEAR(value_of(SoftLabelDistillation{}, two, same), value_of(SoftLabelDistillation{}, student, teacher) / 2,
              1e-15);
}

TEST(SoftLabelDistillation, AStudentThatExcludesWhatTheTeacherDoesTooLosesNothing) {
  const Matrix<double> certain{{1000, 0}};
  EXPECT_EQ(value_of(SoftLabelDistillation{}, certain, certain), 0);
  const SoftLabelDistillation symmetric{.symmetric = true};
  EXPECT_EQ(value_of(symmetric, certain, certain), 0);
  EXPECT_EQ(gradient_of(symmetric, certain, certain, 1), (Matrix<double>{{100, 100}}));
}

template <class L>
void expect_empty_is_zero_and_shapes_are_checked(const L& loss) {
  EXPECT_EQ(value_of(loss, Matrix<double>(0, 2), Matrix<double>(0, 2)), 0);
  EXPECT_EQ(gradient_of(loss, Matrix<double>(0, 2), Matrix<double>(0, 2), 1).size(), 0);
  expect_invalid([&] { value_of(loss, student, Matrix<double>::Zero(2, 2)); }, {"1 x 2", "2 x 2"});
  expect_invalid([&] { gradient_of(loss, student, Matrix<double>::Zero(1, 3), 1); }, {"1 x 2", "1 x 3"});
  Matrix<double> narrow = Matrix<double>::Zero(1, 1);
  expect_invalid([&] { loss.template backward<double>(student, student, 1, narrow); }, {"dstudent is 1 x 1", "1 x 2"});
}

TEST(Distillation, NothingIsWorthZeroAndShapesMustAgree) {
  expect_empty_is_zero_and_shapes_are_checked(MeanSquaredDistillation{});
  expect_empty_is_zero_and_shapes_are_checked(SoftLabelDistillation{});
  expect_empty_is_zero_and_shapes_are_checked(SoftLabelDistillation{.symmetric = true});
}

TEST(SoftLabelDistillation, ATemperatureThatIsNotPositiveAndFiniteIsRefused) {
  for (const double temperature : {0.0, -1.0, support::nan_of<double>, support::infinity_of<double>})
    expect_invalid([&] { value_of(SoftLabelDistillation{temperature}, student, teacher); }, {"temperature is"});
}

TEST(SoftLabelDistillation, CrossEntropyIsTheDivergenceAndTheTeachersEntropy) {
  const SoftLabelDistillation loss{.cross_entropy = true};
  EXPECT_NEAR(value_of(loss, student, teacher), std::log(2.0), 1e-15);  // the student's logarithms are ln 1/2
  EXPECT_EQ(gradient_of(loss, student, teacher, 2), gradient_of(SoftLabelDistillation{}, student, teacher, 2));
  expect_invalid([] { value_of(SoftLabelDistillation{.symmetric = true, .cross_entropy = true}, student, teacher); },
                 {"symmetric", "cross_entropy"});
}

/// Matrices, blocks and expressions tell the scalar type by themselves; the old spelling, which names it, still works.
template <class S>
void expect_rows_tell_their_scalar() {
  const Matrix<S> y = support::random_matrix<S>(4, 6, 1), t = support::random_matrix<S>(4, 6, 2);
  Matrix<S> dy = Matrix<S>::Zero(4, 6), named = dy, wide = Matrix<S>::Zero(4, 8);
  const auto expect_all = [&](const auto& loss, const auto& target) {
    const auto value = loss.value(y, target);
    static_assert(std::is_same_v<decltype(value), const S>);
    EXPECT_EQ(value, loss.template value<S>(y, target));
    EXPECT_EQ(value, loss.value(S(2) * y - y, target));
    EXPECT_EQ(value, loss.value(ConstMatrixRef<S>(y), target));
    dy.setZero(), named.setZero(), wide.setZero();
    loss.backward(y, target, 2, dy);
    loss.template backward<S>(y, target, 2, named);
    loss.backward(y.middleCols(0, 6), target, 2.0, wide.middleCols(1, 6));
    EXPECT_EQ(dy, named);
    EXPECT_EQ(wide.middleCols(1, 6), named);
  };
  expect_all(MeanSquaredDistillation{}, t);
  expect_all(SoftLabelDistillation{.symmetric = true}, t);
  expect_all(SoftLabelDistillation{}, t.topRows(4));
}

TEST(Distillation, NoScalarTypeNeedsToBeWritten) {
  expect_rows_tell_their_scalar<float>();
  expect_rows_tell_their_scalar<double>();
}

}  // namespace distillation_test
}  // namespace moe
