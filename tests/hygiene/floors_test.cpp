// The architecture as a test: an include goes downward, from a floor to one below it. Upward or sideways is an error.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hygiene/headers.hpp"

namespace {

// From the ground up; a header stands where it is named, or else its folder. The order inside core/, routing/ and
// layer/ is part of the rule: routing is made before the plan, the plan before its load.
const std::vector<std::vector<std::string>> floors{
    {"core/version.hpp"},
    {"core/compiled.hpp", "core/number_bits.hpp"},
    {"core/text.hpp"},
    {"core/types.hpp"},
    {"core/require.hpp", "core/rows_ref.hpp"},
    {"core/core.hpp"},
    {"core/function_ref.hpp"},
    {"core/executor_ref.hpp"},
    {"core/first_exception.hpp", "core/mersenne_twister.hpp", "core/visitors.hpp"},
    {"core/helpers.hpp", "core/parameter_view.hpp", "core/visit_parts.hpp"},
    {"core/entry_tasks.hpp", "core/packet.hpp", "core/team.hpp"},
    {"core/executor.hpp"},
    {"core"},
    {"kernel/compiler.hpp", "kernel/panel_reader.hpp", "kernel/row_arithmetic.hpp", "kernel/scratch.hpp",
     "kernel/view.hpp"},
    {"kernel/tile.hpp"},
    {"kernel/elementwise.hpp", "kernel/lanes.hpp"},
    {"kernel/long_sums.hpp", "kernel/packing.hpp"},
    {"kernel/tiles.hpp", "kernel/few_rows.hpp", "kernel/words.hpp"},
    {"kernel/decoded_tiles.hpp"},
    {"kernel/gemm.hpp"},
    {"kernel"},
    {"storage/coded_weights.hpp"},
    {"storage"},
    {"routing/batch.hpp"},
    {"routing/routing.hpp"},
    {"routing/capacity.hpp"},
    {"routing/dispatch_options.hpp"},
    {"routing/plan.hpp"},
    {"routing"},
    {"concepts.hpp"},
    {"router", "gating", "expert", "loss", "objective"},
    {"layer/expert_tasks.hpp", "layer/slot_rows.hpp"},
    {"layer/tape.hpp"},
    {"layer/checks.hpp", "layer/recompute.hpp", "layer/run_in_cache.hpp", "layer/passes.hpp"},
    {"layer/parts.hpp", "layer/run_experts.hpp", "layer/run_routing.hpp", "layer/always_on_expert.hpp",
     "layer/slot_means.hpp"},
    {"layer"},
    {"optim", "surgery", "report", "io", "testing"},
    {"moe.hpp"},
};

// Inside one of these folders headers may include each other.
const std::set<std::string> attic{"optim", "surgery", "report", "io", "testing"};

// Not for everyone, so not in the umbrella: they cost a dependency or belong to tests.
const std::set<std::string> opt_in{"io", "testing"};

// What every other gate may include: how choices are weighed, and the gate that many gates are made of.
const std::set<std::string> shared_by_gates{"gating/scores.hpp", "gating/choice_weights.hpp", "gating/top_k.hpp"};

// Sideways arrows that are meant: the first is built out of the second, which is more basic and does not know it.
const std::set<std::pair<std::string, std::string>> sideways{
    {"core/random.hpp", "core/parameters.hpp"},                           // names its state as a buffer
    {"core/check_gradient.hpp", "core/parameters.hpp"},                   // compares parameters
    {"gating/scores.hpp", "gating/division.hpp"},                         // divides scores by their sum
    {"gating/scores.hpp", "gating/score_function.hpp"},                   // computes them
    {"gating/choice_weights.hpp", "gating/division.hpp"},                 // divides probabilities by their sum
    {"gating/choice_weights.hpp", "gating/scores.hpp"},                   // or takes scores
    {"gating/top_k.hpp", "gating/choice_weights.hpp"},                    // weighs what it chose
    {"gating/scored_top_k.hpp", "gating/score_function.hpp"},             // selects by scores
    {"gating/scored_top_k.hpp", "gating/expert_groups.hpp"},              // among the best groups
    {"gating/top_p.hpp", "gating/choose_best.hpp"},                       // as many as reach p
    {"gating/variable_top_k.hpp", "gating/choose_best.hpp"},              // as many as k says
    {"gating/hash.hpp", "gating/hash_table.hpp"},                         // makes its tables
    {"gating/sinkhorn.hpp", "gating/transport.hpp"},                      // top-k of a plan
    {"gating/expert_choice.hpp", "gating/expert_choice_keys.hpp"},        // compares tokens by keys
    {"gating/prioritized.hpp", "gating/logit_against_zero.hpp"},          // one of its orders
    {"objective/hierarchical_mixture.hpp", "objective/mixture.hpp"},      // a mixture of mixtures
    {"expert/glu.hpp", "expert/mlp.hpp"},                                 // starts its weights by the same options
    {"expert/zero_computation.hpp", "expert/mix.hpp"},                    // mixes a constant with the input
    {"expert/clamped_swiglu.hpp", "expert/glu.hpp"},                      // is one of another form
    {"objective/hierarchical_mixture.hpp", "objective/token_slots.hpp"},  // by the slots of each token
    {"objective/mixture.hpp", "objective/token_slots.hpp"},               // the same
    {"expert/clamped_swiglu.hpp", "expert/activations.hpp"},
    {"expert/situ.hpp", "expert/glu.hpp"},  // the same
    {"expert/situ.hpp", "expert/activations.hpp"},
    {"objective/output_orthogonality.hpp", "objective/token_slots.hpp"},   // by the slots of each token
    {"objective/expert_diversity.hpp", "objective/row_overlaps.hpp"},      // multiplies rows with each other
    {"objective/router_orthogonality.hpp", "objective/row_overlaps.hpp"},  // the same
    {"expert/glu.hpp", "expert/activations.hpp"},                          // their hidden units' function
    {"expert/glu.hpp", "expert/dropout.hpp"},                              // and its dropout
    {"expert/mlp.hpp", "expert/activations.hpp"},                          // the same
    {"expert/mlp.hpp", "expert/dropout.hpp"},                              //
    {"expert/variant_expert.hpp", "expert/tape_settings.hpp"},             // sets the tape of the expert at hand
    {"expert/variant_expert.hpp", "expert/stages.hpp"},                    // runs the stages of the expert at hand
    {"expert/variant_expert.hpp", "expert/properties.hpp"},                // hears what that one says of itself
    {"expert/mlp.hpp", "expert/stages.hpp"},                               // runs by stages
    {"expert/glu.hpp", "expert/stages.hpp"},                               // the same
    {"loss/importance.hpp", "loss/variation.hpp"},                         // is a squared coefficient of variation
    {"loss/smooth_load.hpp", "loss/variation.hpp"},                        // the same
    {"loss/smooth_load.hpp", "loss/noise_tail.hpp"},     // sums how likely noise is to exceed a margin
    {"loss/load_balance.hpp", "loss/choice_count.hpp"},  // of the choices that it counts
    {"loss/load_balance.hpp", "loss/groups.hpp"},        // balances each group by itself
    {"loss/device_balance.hpp", "loss/groups.hpp"},      // the same
    {"loss/second_choice.hpp", "loss/groups.hpp"},       // the same
    {"loss/token_balance.hpp", "loss/groups.hpp"},       // the same
};

std::string folder_of(const std::string& header) {
  const auto slash = header.find('/');
  return slash == std::string::npos ? "" : header.substr(0, slash);
}

std::optional<std::size_t> place_of(const std::string& name) {
  for (std::size_t floor = 0; floor < floors.size(); ++floor) {
    if (std::ranges::count(floors[floor], name)) return floor;
  }
  return std::nullopt;
}

std::optional<std::size_t> floor_of(const std::string& header) {
  const auto own = place_of(header);
  return own ? own : place_of(folder_of(header));
}

// What headers of layer/ may include of the parts.
const std::set<std::string> parts_of_layers{"expert/tape_settings.hpp", "expert/mix.hpp", "expert/properties.hpp",
                                            "expert/stages.hpp", "loss/losses.hpp"};

/// A gate, expert or loss among others, as opposed to what is made of any of them.
bool is_concrete_part(const std::string& header) {
  return std::set<std::string>{"router", "gating", "expert", "loss", "objective"}.contains(folder_of(header)) &&
         !parts_of_layers.contains(header);
}

/// What is wrong with `from` including `to`; nothing if the arrow is fine.
std::optional<std::string> complaint(const std::string& from, const std::string& to) {
  const std::string arrow = from + " -> " + to + ": ";
  if (!floor_of(from)) return arrow + from + " has no floor";
  if (!floor_of(to)) return arrow + to + " has no floor";
  if (folder_of(from) == "layer" && is_concrete_part(to))
    return arrow + "a layer knows no concrete gate, expert or loss";
  if (*floor_of(to) < *floor_of(from)) return std::nullopt;
  if (sideways.contains({from, to})) return std::nullopt;
  if (folder_of(from) == "gating" && !shared_by_gates.contains(from) && shared_by_gates.contains(to))
    return std::nullopt;
  if (attic.contains(folder_of(from)) && folder_of(from) == folder_of(to)) return std::nullopt;
  return arrow + (*floor_of(to) > *floor_of(from) ? "upward" : "sideways");
}

TEST(Floors, EveryIncludeGoesDownward) {
  for (const auto& header : moe::hygiene::headers()) {
    EXPECT_TRUE(floor_of(header.name)) << header.name << " has no floor";
    for (const std::string& included : header.includes) {
      const auto wrong = complaint(header.name, included);
      EXPECT_FALSE(wrong) << *wrong;
    }
  }
}

TEST(Floors, AllowedSidewaysArrowsExist) {
  for (const auto& [from, to] : sideways) {
    const auto header = moe::hygiene::find(from);
    ASSERT_TRUE(header) << from;
    EXPECT_TRUE(std::ranges::count(header->includes, to))
        << from << " does not include " << to << ": take it off the list";
  }
}

TEST(Floors, UmbrellaReachesAllThatIsNotOptIn) {
  std::set<std::string> reached;
  std::vector<std::string> open{"moe.hpp"};
  while (!open.empty()) {
    const std::string name = open.back();
    open.pop_back();
    if (!reached.insert(name).second) continue;
    const auto header = moe::hygiene::find(name);
    ASSERT_TRUE(header) << name << " is included and does not exist";
    open.insert(open.end(), header->includes.begin(), header->includes.end());
  }
  for (const auto& header : moe::hygiene::headers()) {
    EXPECT_EQ(reached.contains(header.name), !opt_in.contains(folder_of(header.name))) << header.name;
  }
}

TEST(Floors, SeesABadArrow) {
  EXPECT_FALSE(complaint("layer/layer.hpp", "routing/plan.hpp"));
  EXPECT_FALSE(complaint("gating/top_k.hpp", "kernel/selection.hpp"));
  EXPECT_FALSE(complaint("routing/load.hpp", "routing/routing.hpp"));
  EXPECT_FALSE(complaint("layer/layer.hpp", "loss/losses.hpp"));
  EXPECT_FALSE(complaint("io/safetensors.hpp", "io/json.hpp"));
  const auto expect = [](const std::string& from, const std::string& to, const std::string& what) {
    EXPECT_EQ(complaint(from, to), from + " -> " + to + ": " + what);
  };
  expect("routing/plan.hpp", "layer/layer.hpp", "upward");
  expect("core/core.hpp", "core/parameters.hpp", "upward");
  expect("routing/routing.hpp", "routing/load.hpp", "upward");
  expect("gating/top_k.hpp", "router/router.hpp", "sideways");
  expect("loss/router_z.hpp", "gating/top_k.hpp", "sideways");
  expect("core/random.hpp", "core/pool_executor.hpp", "sideways");
  expect("core/executor.hpp", "kernel/gemm.hpp", "upward");
  expect("kernel/gemm.hpp", "kernel/linear_map.hpp", "upward");
  expect("kernel/rows.hpp", "kernel/linear_map.hpp", "sideways");
  expect("optim/adam.hpp", "io/json.hpp", "sideways");
  expect("layer/layer.hpp", "moe.hpp", "upward");
  expect("layer/layer.hpp", "expert/mlp.hpp", "a layer knows no concrete gate, expert or loss");
  expect("layer/shared.hpp", "gating/top_k.hpp", "a layer knows no concrete gate, expert or loss");
  expect("layer/layer.hpp", "shortcut.hpp", "shortcut.hpp has no floor");
}

// No folder is named for which there is no header, so that the list describes what stands.
TEST(Floors, AllThatIsNamedExists) {
  for (const auto& floor : floors)
    for (const std::string& name : floor)
      EXPECT_TRUE(std::ranges::any_of(moe::hygiene::headers(), [&](const auto& header) {
        return header.name == name || folder_of(header.name) == name;
      })) << name;
}

}  // namespace
