#include "moe/core/compiled.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace compiled_test {

// What the library does is shown by tests/consume: a program with it and one without compute the same bits.
TEST(Compiled, HeadersAreAllThereIsByDefault) {
#ifdef MOE_DETAIL_INSTANCE
  FAIL() << "instances are listed without MOE_COMPILED";
#endif
}

}  // namespace compiled_test
}  // namespace moe
