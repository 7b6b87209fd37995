#include "moe/io/safetensors_header_builder.hpp"

#include <gtest/gtest.h>

#include <string>

#include "temporary_folder.hpp"

namespace safetensors_header_builder_test {

using moe::detail::SafetensorsHeader;
using moe::detail::SafetensorsHeaderBuilder;

/// The message that the builder refuses the text with; empty if it takes it. The layout is not its business.
std::string refusal(const std::string& text) {
  return message_of<moe::io::FileError>([&] {
    SafetensorsHeader header;
    SafetensorsHeaderBuilder builder("file", header);
    nlohmann::json::sax_parse(text, &builder);
  });
}

std::string refusal_of_entry(const std::string& fields) { return refusal("{\"w\":{" + fields + "}}"); }

TEST(SafetensorsHeaderBuilder, EveryFieldIsNeededOnceAndOfItsKind) {
  const std::string dtype = R"("dtype":"F32")", shape = R"("shape":[1])", offsets = R"("data_offsets":[0,4])";
  EXPECT_EQ(refusal_of_entry(dtype + "," + shape + "," + offsets), "");
  EXPECT_NE(refusal_of_entry(dtype + "," + shape).find("no field 'data_offsets'"), std::string::npos);
  EXPECT_NE(refusal_of_entry(dtype + "," + dtype).find("'dtype' is given twice"), std::string::npos);
  EXPECT_NE(refusal_of_entry(R"("dtype":"F33")").find("'dtype' is unknown: 'F33'"), std::string::npos);
  EXPECT_NE(refusal_of_entry(R"("shape":[-1])").find("'shape' has a value of the wrong kind"), std::string::npos);
  EXPECT_NE(refusal_of_entry(R"("data_offsets":[0])").find("does not hold two numbers"), std::string::npos);
}

TEST(SafetensorsHeaderBuilder, FieldsThatItDoesNotKnowMayHoldAnything) {
  EXPECT_EQ(refusal_of_entry(R"("dtype":"F32","shape":[],"data_offsets":[0,4],"note":{"a":[null,{"b":1.5}]})"), "");
  const std::string deep = std::string(70, '[') + std::string(70, ']');
  EXPECT_NE(refusal_of_entry("\"note\":" + deep).find("nested too deep"), std::string::npos);
}

TEST(SafetensorsHeaderBuilder, NamesAndMetadataAreChecked) {
  EXPECT_NE(refusal(R"({"../w":{}})").find("has a '..' component"), std::string::npos);
  EXPECT_NE(refusal(R"({"__metadata__":{"k":1}})").find("wrong kind"), std::string::npos);
  EXPECT_NE(refusal(R"({"__metadata__":{"k":"v","k":"w"}})").find("given twice"), std::string::npos);
  EXPECT_EQ(refusal(R"({"__metadata__":{"k":"v"}})"), "");
}

}  // namespace safetensors_header_builder_test
