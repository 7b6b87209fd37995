#include "moe/core/function_ref.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace function_ref_test {

using Ref = detail::FunctionRef<void(int)>;

int calls = 0;
void add_to_calls(int more) { calls += more; }

TEST(FunctionRef, CallsFunctionsAndObjects) {
  Ref{add_to_calls}(2);
  EXPECT_EQ(calls, 2);
  int sum = 0;
  const auto add = [&](int more) { sum += more; };
  Ref{add}(3);
  EXPECT_EQ(sum, 3);
}

TEST(FunctionRef, ChangesAnObjectThatIsNotConst) {
  int last = 0;
  auto count = [n = 0, &last](int) mutable { last = ++n; };
  const Ref ref = count, copy = ref;
  ref(0);
  copy(0);
  EXPECT_EQ(last, 2);
}

}  // namespace function_ref_test
}  // namespace moe
