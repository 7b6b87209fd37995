#include "moe/io/family.hpp"

#include <gtest/gtest.h>

#include <string>

#include "model_folder.hpp"
#include "moe/io/read_layer.hpp"

namespace family_test {

using moe::io::Family;
using moe::io::Part;

// A model of one's own, by a description of one's own.
TEST(Family, AnEntryOfOnesOwnIsRead) {
  Family mine{.name = "mine", .layers = {"h.{n}"}, .scope = {"moe."}};
  mine.slots = {{Part::router, "moe.scorer"},
                {Part::gate, "moe.in", moe::io::Outputs::odd},
                {Part::up, "moe.in", moe::io::Outputs::even},
                {Part::down, "moe.out.{e}"}};
  mine.settings = {{moe::io::Key::choices, {"top"}, 2.0}};
  mine.gate = [](const moe::io::Settings& settings) -> moe::io::FamilyGate {
    return moe::TopK{.k = settings.required(moe::io::Key::choices)};
  };
  mine.ignored = {"moe.statistics.*"};
  ModelFolder model;
  model.add("h.5.moe.scorer", {2, 4});
  const auto gate_up = model.add("h.5.moe.in", {2, 6, 4});
  model.add("h.5.moe.out.0", {4, 3});
  const auto down = model.add("h.5.moe.out.1", {4, 3});
  model.add("h.5.moe.statistics.load", {2});
  const auto checkpoint = model.open("{}");
  using Mine = moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>>;
  const auto layer = moe::io::read_layer<Mine>(checkpoint, "h.5", {.family = &mine});
  EXPECT_EQ(layer.experts[1].w3_FD(2, 3), gate_up[(6 + 4) * 4 + 3]);
  EXPECT_EQ(layer.experts[1].w1_FD(2, 3), gate_up[(6 + 5) * 4 + 3]);
  EXPECT_EQ(layer.experts[1].w2_DF(3, 1), down[3 * 3 + 1]);
  const std::string reason = message_of<moe::io::FileError>([&] { moe::io::read_layer<Mine>(checkpoint, "h.5"); });
  EXPECT_NE(reason.find("no setting 'model_type' tells the family; state one"), std::string::npos) << reason;
}

}  // namespace family_test
