#include "moe/expert/stages.hpp"

#include <gtest/gtest.h>

#include <string>

#include "support/expect_invalid.hpp"

namespace moe {
namespace stages_test {

/// y = 2 x in one stage, column by column; writes down what was called.
struct Doubling {
  struct Tape {
    std::string calls;
  };

  Index output_width() const { return 3; }
  void check(Index width) const { require(width == 3, "width ", width); }

  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape& tape) const {
    detail::forward_by_stages<Doubling, float>(*this, x, y, tape);
  }
  void backward(ConstMatrixRef<float> x, ConstMatrixRef<float> dy, Tape& tape, MatrixRef<float> dx,
                Doubling& gradient) const {
    detail::backward_by_stages<Doubling, float>(*this, x, dy, tape, dx, gradient);
  }

  using StagesOf = Doubling;
  static constexpr int stages = 2;
  Index forward_columns(int stage) const { return stage == 0 ? 0 : 3; }
  Index backward_columns(int stage) const { return stage == 0 ? 3 : 0; }
  void begin_forward(Index, Tape& tape) const { tape.calls += 'f'; }
  void begin_backward(Index, Tape& tape) const { tape.calls += 'b'; }
  void forward_stage(int stage, ConstMatrixRef<float> x, MatrixRef<float> y, Tape& tape, Index, Index first,
                     Index count) const {
    tape.calls += std::to_string(stage);
    y.middleCols(first, count) = 2 * x.middleCols(first, count);
  }
  void backward_stage(int stage, ConstMatrixRef<float>, ConstMatrixRef<float> dy, Tape& tape, MatrixRef<float> dx,
                      Doubling&, Index first, Index count) const {
    tape.calls += std::to_string(stage);
    dx.middleCols(first, count) = 2 * dy.middleCols(first, count);
  }

  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
};

/// An expert with a pass of its own: it is not run by the stages of the type that it derives from.
struct Tripling : Doubling {
  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape&) const { y = 3 * x; }
};

struct Plain {
  struct Tape {};
  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape&) const { y = x; }
};

static_assert(detail::has_stages<Doubling, float>());
static_assert(!detail::has_stages<Tripling, float>() && !detail::has_stages<Plain, float>());

TEST(Stages, RunOneAfterTheOther) {
  const Matrix<float> x{{1, 2, 3}};
  Matrix<float> y(1, 3), dx(1, 3);
  Doubling::Tape tape;
  Doubling gradient;
  Doubling{}.forward(x, y, tape);
  Doubling{}.backward(x, y, tape, dx, gradient);
  EXPECT_EQ(tape.calls, "f01b01");
  EXPECT_EQ(y, 2 * x);
  EXPECT_EQ(dx, 4 * x);
}

TEST(Stages, WrongShapesAreRefusedBeforeTheFirst) {
  const Matrix<float> x{{1, 2, 3}}, narrow{{1, 2}};
  Matrix<float> y(1, 2), dx(1, 2);
  Doubling::Tape tape;
  Doubling gradient;
  support::expect_invalid([&] { Doubling{}.forward(narrow, y, tape); }, {"width 2"});
  support::expect_invalid([&] { Doubling{}.forward(x, y, tape); }, {"Expert::forward: y is 1 x 2, it must be 1 x 3"});
  support::expect_invalid([&] { Doubling{}.backward(x, x, tape, dx, gradient); }, {"Expert::backward: dx is 1 x 2"});
  EXPECT_EQ(tape.calls, "");
}

}  // namespace stages_test
}  // namespace moe
