#include "moe/kernel/chunk.hpp"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "support/matrices.hpp"

namespace moe {
namespace chunk_test {

TEST(Chunk, APartialChunkIsPadded) {
  const std::vector<float> values{1, 2, 3};
  const auto chunk = detail::load_chunk(values.data(), 3, -1.0f);
  EXPECT_EQ(chunk(0), 1);
  EXPECT_EQ(chunk(2), 3);
  EXPECT_TRUE((chunk.tail(13) == -1).all());
}

TEST(Chunk, AFullChunkIsTakenAsItIs) {
  const Vector<float> values = Vector<float>::LinSpaced(16, 0, 15);
  EXPECT_TRUE((detail::load_chunk(values.data(), 16, -1.0f) == values.array()).all());
}

TEST(Chunk, StoringAPartialChunkLeavesWhatComesAfter) {
  std::vector<float> to(16, 9);
  detail::store_chunk<float>(detail::Chunk<float>::Constant(1), to.data(), 2);
  EXPECT_EQ(to[1], 1);
  EXPECT_EQ(to[2], 9);
}

TEST(Chunk, ChunksCoverAllAndTheLastIsShort) {
  std::vector<std::pair<Index, Index>> chunks;
  detail::for_each_chunk(35, [&](Index begin, Index count) { chunks.emplace_back(begin, count); });
  EXPECT_EQ(chunks, (std::vector<std::pair<Index, Index>>{{0, 16}, {16, 16}, {32, 3}}));
  detail::for_each_chunk(0, [](Index, Index) { ADD_FAILURE() << "there is nothing to cover"; });
}

TEST(Chunk, AMapMayWriteOverItsInput) {
  Vector<double> a = Vector<double>::LinSpaced(20, 0, 19);
  const Vector<double> b = Vector<double>::Constant(20, 3), expected = a + b;
  detail::map_chunks(
      20, a.data(),
      [](const detail::Chunk<double>& u, const detail::Chunk<double>& v) -> detail::Chunk<double> { return u + v; },
      a.data(), b.data());
  EXPECT_EQ(a, expected);
}

TEST(Chunk, TheBitsOfAnElementDoNotDependOnItsPlace) {
  const auto exp = [](const detail::Chunk<float>& u) -> detail::Chunk<float> { return u.exp(); };
  const Vector<float> in = support::random_matrix<float>(37, 1, 1);
  Vector<float> out(37), shifted(36);
  detail::map_chunks(37, out.data(), exp, in.data());
  detail::map_chunks(36, shifted.data(), exp, in.data() + 1);
  EXPECT_TRUE(support::same_bits(out.tail(36), shifted));
}

}  // namespace chunk_test
}  // namespace moe
