#include "moe/io/model_loading.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "moe/core/weights.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "temporary_folder.hpp"

namespace model_loading_test {

using moe::detail::ModelLoading;
using moe::io::FileError;

TEST(ModelLoading, WhatIsExpectedFollowsFromTheType) {
  using moe::detail::as_eigen;
  using moe::detail::expected_info;
  EXPECT_EQ(to_string(expected_info(moe::Matrix<float>(2, 3))), "F32 [2, 3]");
  EXPECT_EQ(to_string(expected_info(moe::Vector<double>(4))), "F64 [4]");
  const moe::Weights<float> panels(moe::Matrix<float>::Ones(3, 2));
  EXPECT_EQ(to_string(expected_info(as_eigen(panels))), "F32 [3, 2]");
}

/// Nothing is set before all was compared.
TEST(ModelLoading, SetsOnlyWhenToldTo) {
  const TemporaryFolder folder;
  moe::io::SafetensorsWriter writer;
  writer.add("w", moe::Vector<float>::Constant(2, 7));
  writer.write(folder / "file");
  const auto file = moe::io::Safetensors::open(folder / "file");
  moe::Vector<float> w = moe::Vector<float>::Zero(2), other = w;
  const moe::io::LoadOptions options;
  ModelLoading loading(file, options);
  loading.visit("w", w);
  loading.require_none();
  EXPECT_EQ(w, other);
  loading.set();
  EXPECT_EQ(w, moe::Vector<float>::Constant(2, 7));

  ModelLoading wrong(file, options);
  wrong.visit("w", w);
  wrong.visit("v", other);
  EXPECT_NE(message_of<FileError>([&] { wrong.require_none(); }).find("'v': missing in the file, F32 [2]"),
            std::string::npos);
}

}  // namespace model_loading_test
