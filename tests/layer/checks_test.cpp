#include "moe/layer/checks.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/expect_invalid.hpp"

namespace moe {
namespace checks_test {

using support::expect_invalid;

struct Nothing {};

TEST(LayerChecks, APassIsOfItsBatchAndItsLayer) {
  Matrix<float> x_TD = Matrix<float>::Ones(2, 3);
  Batch<float> batch = x_TD;
  const int own = 0, other = 0;
  PassTape<float> tape;
  const auto check = [&](const std::vector<std::uint8_t>& valid_T, Index group_size, bool refused = false) {
    detail::require_pass("Some::backward", batch, tape, valid_T, group_size, &own, refused);
  };
  expect_invalid([&] { check({1, 1}, 0); }, {"Some::backward", "no forward pass"});
  tape.width = 2;
  expect_invalid([&] { check({1, 1, 1}, 0); }, {"3 tokens of width 2", "2 of width 3"});
  tape.width = 3;
  tape.layer = &other;
  expect_invalid([&] { check({1, 1}, 0); }, {"another layer's"});
  tape.layer = &own;
  expect_invalid([&] { check({1, 1}, 2); }, {"group_size is 0", "it was 2"});
  expect_invalid([&] { check({1, 0}, 0); }, {"token 1 is no padding", "it was"});
  EXPECT_NO_THROW(check({1, 0}, 0, true));  // a token whose logits were refused
  EXPECT_NO_THROW(check({1, 1}, 0));
  batch.valid = {1, 0};
  expect_invalid([&] { check({1, 1}, 0, true); }, {"token 1 is padding"});
}

TEST(LayerChecks, ABackwardPassWantsWhatThisLayersExpertsKept) {
  ExpertsTape<float, Nothing> tape;
  std::vector<Nothing> tapes;
  const auto check = [&] { detail::require_kept("Some::backward", tape, 2); };
  expect_invalid(check, {"others took the place"});
  tape.ran_experts = true;
  expect_invalid(check, {"keep_activations was false"});
  tape.kept_activations = true;
  tape.recompute_in = &tapes;
  expect_invalid(check, {"recompute_in is not what it was"});
  tape.computed_in = &tapes;
  expect_invalid(check, {"of 0 experts, the layer has 2"});
  tape.experts.resize(2);
  EXPECT_NO_THROW(check());
}

TEST(LayerChecks, OutputsHaveARowForEachTokenAndMemoryOfTheirOwn) {
  Matrix<float> x_TD = Matrix<float>::Ones(2, 3), y_TO(2, 4);
  const Batch<float> batch = x_TD;
  EXPECT_NO_THROW(detail::require_output("y", y_TO, batch, 4));
  expect_invalid([&] { detail::require_output("y", y_TO, batch, 5); }, {"y is 2 x 4", "2 x 5"});
  expect_invalid([&] { detail::require_output("y", x_TD, batch, 3); }, {"y overlaps the tokens"});
  expect_invalid([&] { detail::require_filled("Some", 0); }, {"Some: it has no experts"});
}

}  // namespace checks_test
}  // namespace moe
