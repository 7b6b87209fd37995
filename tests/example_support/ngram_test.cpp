#include "support/ngram.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "file_text.hpp"
#include "gtest/gtest.h"

namespace ngram_test {

using example::NGram;
using Codes = std::vector<moe::Index>;

/// After a, a, b: a was seen twice, b once, two different bytes; after a came a and b.
TEST(NGram, ByHand) {
  const Codes train{'a', 'a', 'b'};
  const double a = (2 + 2.0 / 256) / 5, b = (1 + 2.0 / 256) / 5, c = (2.0 / 256) / 5;
  EXPECT_NEAR(NGram(0, train).bits_per_byte({'a', 'b', 'c'}), -std::log2(a * b * c) / 3, 1e-12);
  const double b_after_a = (1 + 2 * b) / 4, c_after_a = 2 * c / 4;
  EXPECT_NEAR(NGram(1, train).bits_per_byte({'a', 'b', 'b', 'a', 'c'}),
              -std::log2(a * b_after_a * b * a * c_after_a) / 5, 1e-12);
  const double b_after_aa = (1 + b_after_a) / 2, a_after_a = (1 + 2 * a) / 4;
  EXPECT_NEAR(NGram(7, train).bits_per_byte({'a', 'a', 'b'}), -std::log2(a * a_after_a * b_after_aa) / 3, 1e-12);
}

TEST(NGram, ProbabilitiesSumTo1) {
  const NGram model(2, {1, 2, 3, 1, 2, 2, 1, 3});
  double sum = 0;
  for (moe::Index code = 0; code < 256; ++code)
    sum += std::exp2(2 * model.bits_per_byte({1, 2}) - 3 * model.bits_per_byte({1, 2, code}));
  EXPECT_NEAR(sum, 1, 1e-12);
}

TEST(NGram, RefusesWhatIsNoByte) {
  EXPECT_THROW(NGram(8, {}), std::invalid_argument);
  EXPECT_THROW(NGram(-1, {}), std::invalid_argument);
  EXPECT_THROW(NGram(1, {256}), std::invalid_argument);
  EXPECT_THROW(NGram(1, {1}).bits_per_byte({-1}), std::invalid_argument);
}

/// As another implementation, in another language, has measured it.
TEST(NGram, OfANovel) {
  const std::string text = test::text_of(MOE_SOURCE_DIR "/examples/data/pride_and_prejudice.txt");
  Codes codes;
  for (const char byte : text) codes.push_back(static_cast<unsigned char>(byte));
  const auto cut = codes.begin() + static_cast<std::ptrdiff_t>(codes.size() * 9 / 10);
  const Codes train(codes.begin(), cut), held_out(cut, codes.end());
  constexpr std::array<double, 4> bits{3.524, 2.699, 2.112, 1.874};
  for (int order = 1; order <= 4; ++order)
    EXPECT_NEAR(NGram(order, train).bits_per_byte(held_out), bits.at(static_cast<std::size_t>(order) - 1), 6e-4);
}

}  // namespace ngram_test
