// Every header in two translation units of one program: what is defined twice does not link, and both see one library.
#include <gtest/gtest.h>

#include "all_headers.hpp"
#include "hygiene/train_once.hpp"

double train_once_elsewhere(unsigned seed);

TEST(Odr, TwoTranslationUnitsAreOneLibrary) {
  EXPECT_EQ(moe::hygiene::train_once(1), train_once_elsewhere(1));
  EXPECT_NE(moe::hygiene::train_once(1), train_once_elsewhere(2));
}
