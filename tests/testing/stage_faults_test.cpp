#include "moe/testing/stage_faults.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <sstream>
#include <string>

#include "moe/expert/glu.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace stage_faults_test {

/// y = x .* scale in one stage, which may not honour the columns that it is called for.
struct Scaling {
  enum class Fault { none, forward_all, forward_first, backward_all, backward_all_of_dx };

  Vector<double> scale_D;
  Fault fault = Fault::none;

  struct Tape {};
  using StagesOf = Scaling;
  static constexpr int stages = 1;

  Index forward_columns(int) const { return scale_D.size(); }
  Index backward_columns(int) const { return scale_D.size(); }
  void begin_forward(Index, Tape&) const {}
  void begin_backward(Index, Tape&) const {}

  void forward_stage(int, ConstMatrixRef<double> x, MatrixRef<double> y, Tape&, Index, Index first, Index count) const {
    const Index all = scale_D.size();
    const Index from = fault == Fault::forward_all || fault == Fault::forward_first ? 0 : first;
    for (Index d = from; d < from + (fault == Fault::forward_all ? all : count); ++d) y.col(d) = x.col(d) * scale_D(d);
  }
  void backward_stage(int, ConstMatrixRef<double> x, ConstMatrixRef<double> dy, Tape&, MatrixRef<double> dx,
                      Scaling& gradient, Index first, Index count) const {
    const Index all = scale_D.size(), end = first + count;
    const bool all_of_dx = fault == Fault::backward_all || fault == Fault::backward_all_of_dx;
    for (Index d = all_of_dx ? 0 : first; d < (all_of_dx ? all : end); ++d) dx.col(d) = dy.col(d) * scale_D(d);
    const bool all_of_scale = fault == Fault::backward_all;
    for (Index d = all_of_scale ? 0 : first; d < (all_of_scale ? all : end); ++d)
      gradient.scale_D(d) += x.col(d).dot(dy.col(d));
  }

  void forward(ConstMatrixRef<double> x, MatrixRef<double> y, Tape& tape) const {
    forward_stage(0, x, y, tape, 0, 0, scale_D.size());
  }
  void backward(ConstMatrixRef<double> x, ConstMatrixRef<double> dy, Tape& tape, MatrixRef<double> dx,
                Scaling& gradient) const {
    backward_stage(0, x, dy, tape, dx, gradient, 0, scale_D.size());
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
  }
};

static_assert(StagedExpert<Scaling, double>);

std::string report_of(Scaling::Fault fault, Index width = 40) {
  const Scaling scaling{Vector<double>::LinSpaced(width, -1, 2), fault};
  const auto report = testing::check_gradients(scaling, support::random_matrix<double>(3, width, 1));
  std::ostringstream text;
  text << report;
  EXPECT_EQ(static_cast<bool>(report), report.faults.empty()) << text.str();
  return report ? "" : text.str();
}

void expect_says(const std::string& report, const std::string& sentence) {
  EXPECT_NE(report.find(sentence), std::string::npos) << report;
}

TEST(StageFaults, StagesThatHonourTheirColumnsPass) {
  EXPECT_EQ(report_of(Scaling::Fault::none), "");
  EXPECT_EQ(report_of(Scaling::Fault::none, 3), "");
}

TEST(StageFaults, StagesThatDoNotHonourTheirColumnsAreNamed) {
  expect_says(report_of(Scaling::Fault::forward_all),
              "forward_stage with columns cut at multiples of 16 writes entries of y for more than one part");
  expect_says(report_of(Scaling::Fault::forward_first),
              "forward_stage with columns cut at multiples of 16 gives another y than forward does");
  expect_says(report_of(Scaling::Fault::backward_all),
              "backward_stage with columns cut at multiples of 16 gives another gradient of 'scale'");
  expect_says(report_of(Scaling::Fault::backward_all_of_dx),
              "backward_stage with columns cut at multiples of 16 writes entries of dx for more than one");
}

TEST(StageFaults, AStageWithoutColumnsIsNotRun) {
  for (const Index columns : {0, 1, 16, 33}) {
    Index sum = 0, before = columns;
    testing::for_each_part_from_last(columns, [&](Index first, Index count) {
      EXPECT_EQ(first % 16, 0);
      EXPECT_EQ(first + count, before);
      before = first, sum += count;
    });
    EXPECT_EQ(sum, columns);
  }
}

TEST(StageFaults, TheLibrarysStagesHaveNone) {
  std::mt19937_64 rng{1};
  const Matrix<double> x = support::random_matrix<double>(3, 20, 1);
  const testing::GradientOptions options{.entries = 20, .tape_seed = 3};
  EXPECT_TRUE(
      testing::check_gradients(Mlp<double, Gelu>::random(20, 37, rng, {.bias = true, .dropout = 0.2}), x, options));
  EXPECT_TRUE(
      testing::check_gradients(SwiGlu<double>::random(20, 37, rng, {.bias = true, .multiplier = true}), x, options));
}

}  // namespace stage_faults_test
}  // namespace moe
