#include "moe/kernel/scratch.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace moe::detail {
namespace scratch_test {

TEST(Scratch, IsAThreadsOwnAndStaysTheSame) {
  const Scratch<float>* const here = &Scratch<float>::mine();
  EXPECT_EQ(here, &Scratch<float>::mine());
  EXPECT_EQ(here->packed.size(), scratch_size);
  EXPECT_EQ(here->second.size(), scratch_size);
  EXPECT_EQ(here->sums.size(), scratch_size);
  std::thread{[&] { EXPECT_NE(here, &Scratch<float>::mine()); }}.join();
}

}  // namespace scratch_test
}  // namespace moe::detail
