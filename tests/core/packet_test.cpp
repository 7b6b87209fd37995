#include "moe/core/packet.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace packet_test {

TEST(Packets, FillAPanelsWidth) {
  EXPECT_EQ(detail::PacketsOf<float>::lanes * detail::PacketsOf<float>::packets, panel_width);
  EXPECT_EQ(detail::PacketsOf<double>::lanes * detail::PacketsOf<double>::packets, panel_width);
  EXPECT_EQ(detail::PacketsOf<long double>::lanes, 1);
}

TEST(Packets, OfOneValueAreComparedAsValues) {
  EXPECT_EQ(detail::packet_where_less<long double>(1, 2, 3, 4), 3);
  EXPECT_EQ(detail::packet_where_less<long double>(2, 2, 3, 4), 4);
}

}  // namespace packet_test
}  // namespace moe
