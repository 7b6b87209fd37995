#include "moe/routing/gate_properties.hpp"

#include <gtest/gtest.h>

#include "support/expect_invalid.hpp"

namespace moe {
namespace gate_properties_test {

struct Silent {};

struct Outspoken {
  Index most_choices(Index experts) const { return experts - 1; }
  bool choices_differ() const { return true; }
  bool accepts_noise(bool weighs) const { return weighs; }
};

template <class G>
struct Around {
  G gate;
};

template <class G>
struct AroundWithAWord : Around<G> {
  bool choices_differ() const { return false; }
};

TEST(GateProperties, OfAGateThatSaysNothing) {
  EXPECT_EQ(detail::most_choices(Silent{}, 4), 4);
  EXPECT_FALSE(detail::choices_differ(Silent{}));
  EXPECT_TRUE(detail::accepts_noise(Silent{}, false));
}

TEST(GateProperties, AreWhatAGateSays) {
  EXPECT_EQ(detail::most_choices(Outspoken{}, 4), 3);
  EXPECT_TRUE(detail::choices_differ(Outspoken{}));
  EXPECT_FALSE(detail::accepts_noise(Outspoken{}, false));
}

TEST(GateProperties, AGateAroundAnotherSaysWhatThatOneSaysUnlessItSaysOtherwise) {
  EXPECT_EQ(detail::most_choices(Around<Around<Outspoken>>{}, 4), 3);
  EXPECT_FALSE(detail::accepts_noise(Around<Outspoken>{}, false));
  EXPECT_EQ(detail::most_choices(Around<Silent>{}, 4), 4);
  EXPECT_TRUE(detail::choices_differ(Around<Outspoken>{}));
  EXPECT_FALSE(detail::choices_differ(AroundWithAWord<Outspoken>{}));
}

TEST(GateProperties, NoiseWithoutAnEffectIsRefused) {
  EXPECT_NO_THROW(detail::require_noise_has_an_effect("Noise", Outspoken{}, true));
  support::expect_invalid([] { detail::require_noise_has_an_effect("Noise", Outspoken{}, false); },
                          {"Noise: its noise would change nothing"});
}

}  // namespace gate_properties_test
}  // namespace moe
