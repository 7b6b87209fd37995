#include "moe/io/checkpoint_tensor.hpp"

#include <gtest/gtest.h>

namespace checkpoint_tensor_test {

using moe::io::CheckpointTensor;

TEST(CheckpointTensor, IsAMatrixOfItsLastDimension) {
  CheckpointTensor tensor;
  tensor.format = *moe::io::gguf_format(8);
  tensor.shape = {6, 64, 96};
  EXPECT_EQ(tensor.size(), 6u * 64 * 96);
  EXPECT_EQ(tensor.rows(), 6u * 64);
  EXPECT_EQ(tensor.cols(), 96u);
  EXPECT_EQ(to_string(tensor), "Q8_0 [6, 64, 96]");
  tensor.shape = {5};
  EXPECT_EQ(tensor.rows(), 1u);
  EXPECT_EQ(tensor.cols(), 5u);
  tensor.shape = {};
  EXPECT_EQ(tensor.size(), 1u);
  EXPECT_EQ(tensor.rows(), 1u);
  EXPECT_EQ(tensor.cols(), 1u);
}

}  // namespace checkpoint_tensor_test
