#include "moe/core/check_gradient.hpp"

#include <gtest/gtest.h>

#include "support/expect_invalid.hpp"

namespace moe {
namespace check_gradient_test {

struct Scaling {
  Vector<float> scale_D;

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
  }
};

struct Settings {
  int k = 1;
};

struct Checked {
  void check_gradient(const Checked&) const { require(false, "asked ", 1); }
};

TEST(CheckGradient, OtherShapesAreRefused) {
  const Scaling part{Vector<float>::Zero(2)}, other{Vector<float>::Zero(3)};
  EXPECT_NO_THROW(detail::check_gradient("part", part, Scaling(part)));
  support::expect_invalid([&] { detail::check_gradient("part", part, other); }, {"part", "'scale'", "2 x 1", "3 x 1"});
}

TEST(CheckGradient, ThePartItselfIsRefused) {
  const Scaling part{Vector<float>::Zero(2)};
  support::expect_invalid([&] { detail::check_gradient("part", part, part); }, {"part is the part itself"});
}

TEST(CheckGradient, APartWithoutParametersFitsEveryGradient) {
  EXPECT_NO_THROW(detail::check_gradient("gate", Settings{}, Settings{2}));
}

TEST(CheckGradient, APartMayHaveACheckOfItsOwn) {
  support::expect_invalid([] { detail::check_gradient("part", Checked{}, Checked{}); }, {"asked 1"});
}

}  // namespace check_gradient_test
}  // namespace moe
