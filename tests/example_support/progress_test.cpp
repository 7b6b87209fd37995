#include "support/progress.hpp"

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "file_text.hpp"
#include "gtest/gtest.h"

namespace progress_test {

using std::chrono::milliseconds;

/// What was written to a file that is read from its beginning.
std::string text_of(std::FILE* file) {
  std::string text;
  std::rewind(file);
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  std::fclose(file);
  return text;
}

TEST(Progress, ALineForEveryTenth) {
  std::FILE* const file = std::tmpfile();
  {
    example::Progress progress("training", 40, file);
    for (int i = 0; i < 40; ++i) progress.advance("; fine");
  }
  const std::string text = text_of(file);
  EXPECT_EQ(test::times(text, "\n"), 10);
  EXPECT_EQ(test::times(text, "training: 4 of 40, 0 s, about 0 s left; fine\n"), 1);
  EXPECT_TRUE(text.ends_with("training: 40 of 40, 0 s; fine\n")) << text;
}

TEST(Progress, ALineNowAndThenWhileNothingIsDone) {
  std::FILE* const file = std::tmpfile();
  {
    example::Progress progress("runs", 3, file, milliseconds(20));
    std::this_thread::sleep_for(milliseconds(400));
    progress.advance();
    std::this_thread::sleep_for(milliseconds(400));
  }
  const std::string text = text_of(file);
  EXPECT_GE(test::times(text, "runs: 0 of 3, 0 s\n"), 3) << text;
  EXPECT_GE(test::times(text, "runs: 1 of 3, 0 s, about "), 3) << text;
  EXPECT_EQ(test::times(text, " s left\n"), test::times(text, "runs: 1 of 3"));
}

}  // namespace progress_test
