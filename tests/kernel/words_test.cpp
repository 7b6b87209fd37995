#include "moe/kernel/words.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace moe {
namespace words_test_of_packets {

using detail::Words;

/// f of each of sixteen words, through packets of floats.
template <class F>
std::vector<float> mapped(const std::vector<std::uint32_t>& words, F&& f) {
  std::vector<std::uint8_t> bytes(64 + 1);
  std::memcpy(bytes.data() + 1, words.data(), 64);  // wherever it lies
  std::vector<float> floats(16);
  for (int j = 0; j < Words::packets; ++j)
    Eigen::internal::pstoreu(floats.data() + j * Words::lanes, f(Words::load(bytes.data() + 1, j)));
  return floats;
}

TEST(PacketsOfWords, AreReadAsNumbersAndAsBits) {
  std::vector<std::uint32_t> words(16);
  for (std::uint32_t i = 0; i < 16; ++i) words[i] = 0x9e3779b9u * (i + 1);
  const auto values = mapped(words, [](auto w) { return Words::values_of(w); });
  const auto bits = mapped(words, [](auto w) { return Words::bits_of(Words::both(w, 0xbfffffffu)); });
  const auto top = mapped(words, [](auto w) { return Words::values_of(Words::template right<24>(w)); });
  const auto third =
      mapped(words, [](auto w) { return Words::values_of(Words::template right<24>(Words::template left<16>(w))); });
  const auto same = mapped(words, [](auto w) { return Words::values_of(Words::template left<0>(w)); });
  for (std::size_t i = 0; i < 16; ++i) {
    const auto number = static_cast<std::int32_t>(words[i]);
    EXPECT_EQ(values[i], static_cast<float>(number));
    EXPECT_EQ(same[i], values[i]);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(bits[i]), words[i] & 0xbfffffffu);
    EXPECT_EQ(top[i], static_cast<float>(number >> 24));
    EXPECT_EQ(third[i], static_cast<float>(static_cast<std::int8_t>(words[i] >> 8 & 0xffu)));
  }
}

}  // namespace words_test_of_packets
}  // namespace moe
