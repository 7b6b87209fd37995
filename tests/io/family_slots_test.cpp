#include "moe/io/family_slots.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "moe/io/families.hpp"

namespace family_slots_test {

using moe::io::Part;

TEST(FamilySlots, ExpertsOneByOneOrAsTransformers5HasThem) {
  const auto slots = moe::detail::mlp_experts();
  ASSERT_EQ(slots.size(), 6u);
  EXPECT_EQ(slots[1].tensor, "mlp.experts.{e}.up_proj.weight");
  EXPECT_EQ(slots[4].tensor, "mlp.experts.gate_up_proj");
  EXPECT_EQ(slots[4].outputs, moe::io::Outputs::second_half);
}

// What reading takes for granted.
TEST(FamilySlots, EveryFamilyIsWhole) {
  std::set<std::string> names;
  for (const auto& family : moe::io::families()) {
    SCOPED_TRACE(family.name);
    EXPECT_TRUE(names.insert(family.name + (family.is_gguf ? " of gguf" : "")).second);
    EXPECT_FALSE(family.architectures.empty());
    for (const std::string& layer : family.layers) EXPECT_NE(layer.find("{n}"), std::string::npos);
    EXPECT_FALSE(family.layers.empty());
    EXPECT_FALSE(family.scope.empty());
    EXPECT_NE(family.gate, nullptr);
    std::set<Part> parts;
    for (const auto& slot : family.slots) {
      parts.insert(slot.part);
      bool is_in_scope = false;
      for (const std::string& scope : family.scope) is_in_scope = is_in_scope || slot.tensor.starts_with(scope);
      EXPECT_TRUE(is_in_scope) << slot.tensor;
    }
    for (const Part part : {Part::router, Part::up, Part::down}) EXPECT_TRUE(parts.contains(part));
    for (const auto& setting : family.settings) EXPECT_TRUE(!setting.names.empty() || setting.fallback);
  }
}

}  // namespace family_slots_test
