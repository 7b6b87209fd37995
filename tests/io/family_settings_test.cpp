#include "moe/io/family_settings.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "model_folder.hpp"

namespace family_settings_test {

using moe::io::Key;
using moe::io::Part;
using moe::io::Settings;

TEST(FamilySettings, NamesListsAndFallbacks) {
  ModelFolder model;
  model.add("h.12.b", {1});
  model.add("h.12.e.3.c_blocks", {1});
  const auto checkpoint = model.open(R"({"model_type": "mine", "k": [1, 2, 3], "mine.width": 8, "scale": 2.5,
      "text_config": {"experts": 4}, "act": "relu", "norm": null})");
  moe::io::Family family{.name = "mine"};
  family.slots = {{Part::router, "a"}, {Part::router, "b"}, {.part = Part::up, .tensor = "e.3.c", .marker = "_blocks"}};
  family.settings = {{Key::choices, {"top", "k"}},         {Key::width, {"{arch}.width"}},
                     {Key::experts, {"experts"}},          {Key::scale, {"scale"}},
                     {Key::activation, {"act"}},           {Key::normalize, {"norm"}, true},
                     {Key::groups, {"no_such_name"}, 1.0}, {Key::hidden, {"no_such_name"}}};
  const Settings settings(checkpoint, family, "layers.2.h");
  EXPECT_EQ(settings.required(Key::choices), 3);
  EXPECT_EQ(settings.integer(Key::width), 8);
  EXPECT_EQ(settings.integer(Key::experts), 4);
  EXPECT_EQ(settings.number(Key::scale), 2.5);
  EXPECT_EQ(settings.text(Key::activation), "relu");
  EXPECT_EQ(settings.flag(Key::normalize), true);
  EXPECT_EQ(settings.integer(Key::groups), 1);
  EXPECT_EQ(settings.integer(Key::hidden), std::nullopt);
  EXPECT_EQ(settings.integer(Key::limit, 5), 5);
  EXPECT_EQ(settings.name_of(Key::experts), "'text_config.experts'");
  const auto error = [](auto&& f) { return message_of<moe::io::FileError>(f); };
  EXPECT_NE(error([&] { settings.required(Key::hidden); }).find("config.json: no setting 'no_such_name'"),
            std::string::npos);
  EXPECT_NE(error([&] { settings.integer(Key::scale); }).find("'scale' is '2.5', not an integer"), std::string::npos);
  const Settings other(checkpoint, family, "h.12");
  EXPECT_NE(error([&] { other.integer(Key::choices); }).find("'k' has no entry for layer 12"), std::string::npos);
  ASSERT_NE(other.slot(Part::router), nullptr);
  EXPECT_EQ(other.tensor(*other.slot(Part::router)), "h.12.b");
  EXPECT_NE(other.slot(Part::up), nullptr);
  EXPECT_EQ(settings.slot(Part::router), nullptr);
}

}  // namespace family_settings_test
