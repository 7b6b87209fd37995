#include "moe/io/families.hpp"

#include <gtest/gtest.h>

#include <string>

#include "model_folder.hpp"

namespace families_test {

using moe::io::find_family;

TEST(Families, AreFoundByNameAndArchitecture) {
  ASSERT_NE(find_family("mixtral"), nullptr);
  EXPECT_EQ(find_family("nllb-moe"), find_family("nllb_moe"));
  EXPECT_EQ(find_family("llama"), nullptr);
  ASSERT_NE(find_family("llama", true), nullptr);
  EXPECT_NE(find_family("llama4"), find_family("llama4", true));
}

TEST(Families, TheCheckpointSaysWhich) {
  ModelFolder model;
  EXPECT_EQ(family_of(model.open(R"({"model_type": "qwen3_moe"})")).name, "qwen3_moe");
  const auto error = [&](const std::string& config) {
    return message_of<moe::io::FileError>([&] { family_of(model.open(config)); });
  };
  EXPECT_NE(error("{}").find("no setting 'model_type' tells the family"), std::string::npos);
  EXPECT_NE(error(R"({"model_type": "bert"})").find("no family is known for the architecture 'bert'"),
            std::string::npos);
}

}  // namespace families_test
