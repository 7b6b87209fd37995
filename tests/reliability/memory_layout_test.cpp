// Rows may lie anywhere: in blocks, in maps, behind strides, at unaligned addresses.
#include <gtest/gtest.h>

#include <vector>

#include "moe/moe.hpp"
#include "reliability/small_layer.hpp"

namespace moe {
namespace memory_layout_test {

using namespace reliability;

const Matrix<float> x_TD = support::random_matrix<float>(6, width, 3);
const Matrix<float> dy_TD = support::random_matrix<float>(6, width, 4);

/// Rows within a larger block of memory, at an unaligned address, with canaries all around.
struct Strided {
  static constexpr Index stride = 7, offset = 1;
  std::vector<float> memory = std::vector<float>(6 * stride + 2, 77.0f);
  Eigen::Map<Matrix<float>, Eigen::Unaligned, Eigen::OuterStride<>> rows{memory.data() + offset, 6, width,
                                                                         Eigen::OuterStride<>(stride)};

  Strided() = default;
  explicit Strided(const Matrix<float>& values) { rows = values; }
  Strided(const Strided&) = delete;
  Strided& operator=(const Strided&) = delete;

  Index canaries() const { return static_cast<Index>(std::count(memory.begin(), memory.end(), 77.0f)); }
};

constexpr Index expected_canaries = 6 * Strided::stride + 2 - 6 * width;

struct Outcome {
  Matrix<float> y_TD, dx_TD;
  SmallLayer gradient;
};

Outcome plain_outcome() {
  const auto layer = small_layer();
  SmallLayer::Tape tape;
  Outcome outcome{layer.forward(x_TD, tape), {}, zeros_like(layer)};
  outcome.dx_TD = layer.backward(x_TD, dy_TD, tape, outcome.gradient);
  return outcome;
}

TEST(MemoryLayout, StridedMapsGiveTheSameBitsAndNothingBetweenTheRowsIsTouched) {
  const auto layer = small_layer();
  const Strided x(x_TD), dy(dy_TD);
  Strided y, dx;
  SmallLayer::Tape tape;
  SmallLayer gradient = zeros_like(layer);
  layer.forward_into(x.rows, y.rows, tape);
  layer.backward_into(x.rows, dy.rows, tape, dx.rows, gradient);
  const Outcome expected = plain_outcome();
  EXPECT_TRUE(support::same_bits(y.rows, expected.y_TD));
  EXPECT_TRUE(support::same_bits(dx.rows, expected.dx_TD));
  EXPECT_TRUE(support::same_parameters(gradient, expected.gradient));
  EXPECT_EQ(y.canaries(), expected_canaries);
  EXPECT_EQ(dx.canaries(), expected_canaries);
}

TEST(MemoryLayout, BlocksOfColumnsGiveTheSameBits) {
  Matrix<float> wide = Matrix<float>::Constant(6, 9, 77);
  wide.middleCols(4, width) = x_TD;
  EXPECT_TRUE(support::same_bits(small_layer().forward(wide.middleCols(4, width)), plain_outcome().y_TD));
}

TEST(MemoryLayout, BlocksOfRowsGiveTheSameBits) {
  Matrix<float> tall = Matrix<float>::Constant(10, width, 77);
  tall.middleRows(2, 6) = x_TD;
  EXPECT_TRUE(support::same_bits(small_layer().forward(tall.middleRows(2, 6)), plain_outcome().y_TD));
}

TEST(MemoryLayout, TheInputGradientMayTakeThePlaceOfTheUpstreamGradient) {
  const auto layer = small_layer();
  SmallLayer::Tape tape;
  SmallLayer gradient = zeros_like(layer);
  Matrix<float> in_place = dy_TD;
  layer.forward(x_TD, tape);
  layer.backward_into(x_TD, in_place, tape, in_place, gradient);
  EXPECT_TRUE(support::same_bits(in_place, plain_outcome().dx_TD));
}

TEST(MemoryLayout, TheTokensMayBeTheirOwnUpstreamGradient) {
  const auto layer = small_layer();
  SmallLayer::Tape tape;
  SmallLayer gradient = zeros_like(layer), same = gradient;
  layer.forward(x_TD, tape);
  const Matrix<float> copy = x_TD, dx_TD = layer.backward(x_TD, copy, tape, gradient);
  EXPECT_TRUE(support::same_bits(layer.backward(x_TD, x_TD, tape, same), dx_TD));
}

TEST(MemoryLayout, OneTokenAsARowVectorGivesTheBitsOfItsRow) {
  const Eigen::RowVectorXf token = x_TD.row(3);
  EXPECT_TRUE(support::same_bits(small_layer().forward(token), plain_outcome().y_TD.row(3)));
}

TEST(MemoryLayout, ACopyOfATapeServesItsOwnBackwardPass) {
  const auto layer = small_layer();
  SmallLayer::Tape tape;
  layer.forward(x_TD, tape);
  SmallLayer::Tape copy = tape;
  layer.forward(Matrix<float>(2 * x_TD), tape);
  SmallLayer gradient = zeros_like(layer);
  EXPECT_TRUE(support::same_bits(layer.backward(x_TD, dy_TD, copy, gradient), plain_outcome().dx_TD));
}

TEST(MemoryLayout, AssigningALayerToItselfChangesNothing) {
  auto layer = small_layer();
  auto& same = layer;
  layer = same;
  EXPECT_TRUE(support::same_parameters(layer, small_layer()));
}

}  // namespace memory_layout_test
}  // namespace moe
