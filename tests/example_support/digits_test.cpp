#include "support/digits.hpp"

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <string>

#include "file_text.hpp"
#include "gtest/gtest.h"

namespace digits_test {

const std::string path = MOE_SOURCE_DIR "/examples/data/digits8x8.csv";

TEST(Digits, TwoParts) {
  const example::DigitsData data = example::read_digits(path, 1);
  EXPECT_EQ(data.train.tokens(), 1297);
  EXPECT_EQ(data.test.tokens(), 500);
  for (const example::Digits* part : {&data.train, &data.test}) {
    EXPECT_EQ(part->tokens(), static_cast<moe::Index>(part->labels.size()));
    EXPECT_EQ(part->x_TD.cols(), 64);
    EXPECT_EQ(part->x_TD.minCoeff(), 0);
    EXPECT_EQ(part->x_TD.maxCoeff(), 1);
    for (moe::Index digit = 0; digit < 10; ++digit)
      EXPECT_NEAR(static_cast<double>(std::count(part->labels.begin(), part->labels.end(), digit)),
                  static_cast<double>(part->tokens()) / 10, static_cast<double>(part->tokens()) / 25);
  }
}

TEST(Digits, TheSeedDecides) {
  const auto first = example::read_digits(path, 1), again = example::read_digits(path, 1);
  const auto other = example::read_digits(path, 2);
  EXPECT_EQ(first.test.x_TD, again.test.x_TD);
  EXPECT_EQ(first.train.labels, again.train.labels);
  EXPECT_NE(first.test.labels, other.test.labels);
  // All digits are in one part or the other: sums of sixteenths are exact.
  EXPECT_EQ(first.train.x_TD.sum() + first.test.x_TD.sum(), other.train.x_TD.sum() + other.test.x_TD.sum());
}

/// Every picture keeps its label and its place in it.
TEST(Digits, PicturesKeepTheirLabels) {
  const std::string small = test::scratch_path("digits.csv");
  std::ofstream file(small);
  file << "label";
  for (int p = 0; p < 64; ++p) file << ",p" << p;
  for (int digit = 0; digit < 5; ++digit) {
    file << '\n' << digit;
    for (int p = 0; p < 64; ++p) file << ',' << (p == digit ? 4 : 0);
  }
  file.close();
  const example::DigitsData data = example::read_digits(small, 3, 2);
  EXPECT_EQ(data.train.tokens(), 3);
  for (const example::Digits* part : {&data.train, &data.test})
    for (moe::Index t = 0; t < part->tokens(); ++t) {
      EXPECT_EQ(part->x_TD(t, part->labels[static_cast<std::size_t>(t)]), 0.25f);
      EXPECT_EQ(part->x_TD.row(t).sum(), 0.25f);
    }
  EXPECT_THROW(example::read_digits(small, 1, 5), std::runtime_error);
}

}  // namespace digits_test
