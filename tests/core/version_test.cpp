#include "moe/core/version.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <utility>

namespace moe {
namespace version_test {

TEST(Version, IsOneNumberToCompare) {
  EXPECT_EQ(MOE_VERSION, 10000 * MOE_VERSION_MAJOR + 100 * MOE_VERSION_MINOR + MOE_VERSION_PATCH);
}

/// The build reads the version by a pattern: lines of another form would give the package no version.
TEST(Version, IsStatedInTheFormThatTheBuildReads) {
  std::ifstream file(MOE_SOURCE_DIR "/include/moe/core/version.hpp");
  std::stringstream text;
  text << file.rdbuf();
  for (const auto& [name, number] :
       {std::pair{"MAJOR", MOE_VERSION_MAJOR}, {"MINOR", MOE_VERSION_MINOR}, {"PATCH", MOE_VERSION_PATCH}})
    EXPECT_NE(text.str().find("\n#define MOE_VERSION_" + std::string(name) + " " + std::to_string(number) + "\n"),
              std::string::npos)
        << name;
}

}  // namespace version_test
}  // namespace moe
