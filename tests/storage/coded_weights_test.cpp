#include "moe/storage/coded_weights.hpp"

#include "storage/plain_blocks.hpp"
#include "storage/storage_case.hpp"

namespace moe {
namespace coded_weights_test {

using plain_blocks::PlainWeights;

TEST(CodedWeights, OfFloatsAreThePlainWeights) {
  const Matrix<float> plain = storage_case::random_plain(37, 45, 3);
  EXPECT_TRUE(support::same_bits(PlainWeights(plain).matrix(), plain));
  storage_case::expect_value<PlainWeights>();
  storage_case::expect_products<PlainWeights>();
  storage_case::expect_one_result_of_experts<PlainWeights>();
  storage_case::expect_only_finite<PlainWeights>();
}

TEST(CodedWeights, AreDecodedFromAnyInputOn) {
  const Matrix<float> plain = storage_case::random_plain(20, 30, 3);
  const PlainWeights w(plain);
  for (Index k = 0; k < 30; ++k)
    for (Index depth = 0; k + depth <= 30; ++depth) {
      Matrix<float> part = Matrix<float>::Constant(depth + 1, panel_width, -1);
      w.decode_panel(1, k, depth, part.data());
      EXPECT_TRUE(support::same_bits(Matrix<float>(part.topLeftCorner(depth, 4)),
                                     Matrix<float>(plain.block(16, k, 4, depth).transpose())));
      EXPECT_TRUE(part.topRightCorner(depth, 12).isZero(0));
      EXPECT_TRUE(part.row(depth).isConstant(-1)) << "no more is written";
    }
}

TEST(CodedWeights, TheBytesAndTheShapeAreVisited) {
  const PlainWeights w(storage_case::random_plain(20, 30, 3));
  std::vector<std::string> names;
  for_each_buffer([&](std::string_view name,
                      const auto& values) { names.push_back(std::string(name) + " " + std::to_string(values.size())); },
                  w);
  EXPECT_EQ(names, (std::vector<std::string>{"shape 2", "code 4096"}));
}

}  // namespace coded_weights_test
}  // namespace moe
