#include "moe/io/configuration.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "temporary_folder.hpp"

namespace configuration_test {

using moe::io::Configuration;
using moe::io::FileError;

const Configuration& configuration() {
  static const Configuration settings("config.json", nlohmann::json::parse(R"({
    "num_experts": 8, "scale": 2.5, "norm": true, "act": "silu", "none": null, "layers": [1, 3], "negative": -1,
    "text_config": {"hidden_size": 16, "deep": {"er": 1}}, "qwen3moe.expert_count": 6
  })"));
  return settings;
}

TEST(Configuration, ValuesHaveTheTypeThatIsAskedFor) {
  const auto& settings = configuration();
  EXPECT_EQ(settings.get<std::int64_t>("num_experts"), 8);
  EXPECT_EQ(settings.get<double>("num_experts"), 8);
  EXPECT_EQ(settings.get<double>("scale"), 2.5);
  EXPECT_EQ(settings.get<bool>("norm"), true);
  EXPECT_EQ(settings.get<std::string>("act"), "silu");
  EXPECT_EQ(settings.get<std::vector<int>>("layers"), (std::vector<int>{1, 3}));
  EXPECT_EQ(settings.require<int>("negative"), -1);
}

TEST(Configuration, DotsAreOfNamesOrGoIntoObjects) {
  const auto& settings = configuration();
  EXPECT_EQ(settings.get<int>("qwen3moe.expert_count"), 6);
  EXPECT_EQ(settings.get<int>("text_config.hidden_size"), 16);
  EXPECT_EQ(settings.get<int>("text_config.deep.er"), 1);
  EXPECT_FALSE(settings.get<int>("text_config.deep.er.more"));
  EXPECT_FALSE(settings.get<int>("act.more"));
  EXPECT_FALSE(settings.get<int>("."));
  EXPECT_FALSE(settings.get<int>(""));
}

TEST(Configuration, WhatIsNotThereOrNullIsNothing) {
  EXPECT_FALSE(configuration().get<int>("none"));
  EXPECT_FALSE(configuration().get<int>("hidden_size"));
  EXPECT_FALSE(Configuration().get<int>("hidden_size"));
  EXPECT_NE(message_of<FileError>([] { configuration().require<int>("k"); }).find("config.json: no setting 'k'"),
            std::string::npos);
}

TEST(Configuration, OtherKindsAreRefused) {
  const auto error = [](auto&& f) { return message_of<FileError>(f); };
  const auto& settings = configuration();
  EXPECT_NE(error([&] { settings.get<int>("act"); }).find("setting 'act' is '\"silu\"', not an integer in range"),
            std::string::npos);
  EXPECT_NE(error([&] { settings.get<int>("scale"); }).find("'scale' is '2.5'"), std::string::npos);
  EXPECT_NE(error([&] { settings.get<unsigned>("negative"); }).find("not an integer in range"), std::string::npos);
  EXPECT_NE(error([&] { settings.get<bool>("num_experts"); }).find("not true or false"), std::string::npos);
  EXPECT_NE(error([&] { settings.get<double>("norm"); }).find("not a number"), std::string::npos);
  EXPECT_NE(error([&] { settings.get<std::string>("norm"); }).find("not a text"), std::string::npos);
  EXPECT_NE(error([&] { settings.get<std::vector<int>>("norm"); }).find("not an array"), std::string::npos);
  EXPECT_NE(error([&] { settings.get<std::vector<bool>>("layers"); }).find("not true or false"), std::string::npos);
}

}  // namespace configuration_test
