#include "moe/io/slot_layout.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace slot_layout_test {

using moe::detail::SlotGroup;
using moe::io::Order;
using moe::io::Outputs;
using moe::io::Part;
using moe::io::Slot;
using Shape = std::vector<std::uint64_t>;

moe::detail::LayerContent content() {
  moe::detail::LayerContent content;
  content.experts = 5;
  content.copying = 1;
  content.width = 7;
  content.hidden = 3;
  content.shared_hidden = 6;
  return content;
}

Shape shape(const std::vector<Slot>& slots) {
  SlotGroup group;
  for (const Slot& slot : slots) group.slots.push_back(&slot);
  return slice_of(group, content()).shape(moe::io::StoredLayer::is_vector(slots.front().part));
}

TEST(SlotLayout, ShapesOfTensors) {
  EXPECT_EQ(shape({{Part::router, "r"}}), (Shape{5, 7}));
  EXPECT_EQ(shape({{Part::selection_bias, "b"}}), (Shape{5}));
  EXPECT_EQ(shape({{Part::up, "up.{e}"}}), (Shape{3, 7}));
  EXPECT_EQ(shape({{Part::down, "down"}}), (Shape{4, 7, 3}));
  EXPECT_EQ(shape({{Part::down, "down", Outputs::all, Order::inputs_first}}), (Shape{4, 3, 7}));
  EXPECT_EQ(shape({{Part::gate, "w", Outputs::even}, {Part::up, "w", Outputs::odd}}), (Shape{4, 6, 7}));
  EXPECT_EQ(shape({{Part::gate_bias, "b", Outputs::first_half}, {Part::up_bias, "b", Outputs::second_half}}),
            (Shape{4, 6}));
  EXPECT_EQ(shape({{Part::shared_down, "s"}}), (Shape{7, 6}));
  EXPECT_EQ(shape({{Part::shared_mix, "m"}}), (Shape{1, 7}));
  EXPECT_EQ(shape({{Part::output_bias, "b"}}), (Shape{7}));
}

TEST(SlotLayout, Ranks) {
  EXPECT_EQ(moe::detail::with_rank({4, 3, 7}, 0), (Shape{4, 3, 7}));
  EXPECT_EQ(moe::detail::with_rank({4, 3, 7}, 2), (Shape{12, 7}));
  EXPECT_EQ(moe::detail::with_rank({1, 7}, 1), (Shape{7}));
  EXPECT_EQ(moe::detail::with_rank({5}, 2), (Shape{1, 5}));
}

TEST(SlotLayout, PlacesOfOutputs) {
  const auto place = [](Outputs outputs, moe::Index i) {
    const Slot slot{Part::up, "w", outputs};
    return moe::detail::first_output(slot, 10) + i * moe::detail::output_step(slot);
  };
  EXPECT_EQ(place(Outputs::all, 3), 3);
  EXPECT_EQ(place(Outputs::first_half, 3), 3);
  EXPECT_EQ(place(Outputs::second_half, 3), 13);
  EXPECT_EQ(place(Outputs::even, 3), 6);
  EXPECT_EQ(place(Outputs::odd, 3), 7);
}

}  // namespace slot_layout_test
