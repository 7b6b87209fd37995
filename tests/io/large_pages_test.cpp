#include "moe/io/large_pages.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace moe {

TEST(LargePages, ChangeNoValue) {
  std::vector<float> values(std::size_t{3} << 20);  // 12 MiB
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1000);
  const std::vector<float> before = values;
  detail::prefer_large_pages(values.data(), values.size() * sizeof(float));
  detail::prefer_large_pages(values.data() + 1, values.size() * sizeof(float) - 4);
  EXPECT_TRUE(values == before);
}

TEST(LargePages, TakeAnySize) {
  std::vector<std::byte> bytes(std::size_t{5} << 20, std::byte{7});
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{2} << 20,
                                 (std::size_t{4} << 20) - 1, bytes.size()})
    for (const std::size_t begin : {std::size_t{0}, std::size_t{1}, std::size_t{64}})
      if (begin + size <= bytes.size()) detail::prefer_large_pages(bytes.data() + begin, size);
  detail::prefer_large_pages(nullptr, 0);
  EXPECT_EQ(std::ranges::count(bytes, std::byte{7}), static_cast<std::ptrdiff_t>(bytes.size()));
}

}  // namespace moe
