#include "moe/report/type_name.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace moe {

template <class S, class Other = int>
struct NamedType {};

namespace type_name_test {

#if defined(__GNUC__)

TEST(TypeName, IsWrittenAsAfterUsingNamespaceMoe) {
  EXPECT_EQ(detail::type_name<NamedType<float>>().find("NamedType<float"), 0u);
  EXPECT_EQ(detail::type_name<float>(), "float");
}

/// Names that only end like the namespace are left alone.
TEST(TypeName, OtherNamespacesStay) {
  EXPECT_EQ((detail::type_name<std::vector<NamedType<double>>>().find("std::vector<NamedType<double")), 0u);
}

#endif

}  // namespace type_name_test
}  // namespace moe
