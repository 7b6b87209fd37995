// Each allocation of each public call fails in turn: std::bad_alloc comes out, what the call was to change is as it
// was, nothing leaks or breaks, and the next call does what the first one would have done.
#include "allocation/allocations.hpp"
// Eigen after that.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <new>
#include <ostream>
#include <random>
#include <streambuf>
#include <string>
#include <string_view>
#include <vector>

#include "gating/route.hpp"
#include "io/temporary_folder.hpp"
#include "moe/io/model_file.hpp"
#include "moe/moe.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace every_call_test {

constexpr Index experts = 3, width = 4, hidden = 5, tokens = 7;

/// Long names: short ones need no allocation.
template <class X>
struct Model {
  Router<float> router;
  X expert;

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("a_router_with_a_very_long_name_indeed", f, self.router...);
    visit_part("an_expert_with_a_very_long_name_indeed", f, self.expert...);
  }
};

auto model(std::uint64_t seed) {
  std::mt19937_64 generator{seed};
  return Model<SwiGlu<float>>{Router<float>::random(experts, width, generator),
                              SwiGlu<float>::random(width, hidden, generator)};
}

auto layer(std::uint64_t seed) {
  std::mt19937_64 generator{seed};
  auto router = Router<float>::random(experts, width, generator);
  router.bias_E.setZero(experts);
  ScoredTopK gate{.k = 2};
  gate.selection_bias_E = random_matrix<double>(experts, 1, generator);
  return Layer{router, LearnedNoise<float, ScoredTopK>{gate, random_matrix<float>(experts, width, generator)},
               make_experts<SwiGlu<float>>(experts, width, hidden, generator), Losses{LoadBalanceLoss{}}};
}

/// All numbers that a model keeps.
template <class M>
std::vector<double> numbers_of(const M& model) {
  std::vector<double> all;
  const auto add = [&](std::string_view, const auto& values) {
    for (Index i = 0; i < values.size(); ++i) all.push_back(static_cast<double>(values.data()[i]));
  };
  for_each_parameter(add, model);
  for_each_buffer(add, model);
  return all;
}

template <class... Models>
std::vector<std::vector<double>> all_numbers_of(const Models&... models) {
  return {numbers_of(models)...};
}

/// call(state...) on copies of the states. None of them changes unless the call succeeds; if it is tried again, it does
/// what it does at the first time.
template <class Call, class... States>
void expect_all_or_nothing(Call&& call, const States&... states) {
  const auto attempt = [&](States... copies) {
    const auto before = all_numbers_of(copies...);
    for (long n = 0;; ++n) {
      ASSERT_LT(n, 100'000) << "the call never ends without a failure";
      bool done = true;
      allocation::reset(n);
      try {
        call(copies...);
      } catch (const std::bad_alloc&) {
        done = false;
      }
      allocation::reset();
      if (done) break;
      ASSERT_EQ(all_numbers_of(copies...), before) << "allocation " << n;
    }
    const auto after = all_numbers_of(copies...);
    EXPECT_NE(after, before) << "the call changed nothing";
    [&](States... fresh) {
      call(fresh...);
      EXPECT_EQ(after, all_numbers_of(fresh...));
    }(states...);
  };
  attempt(states...);
}

/// Where a stream writes to, without an allocation.
class Room : public std::streambuf {
 public:
  Room() { setp(room_.data(), room_.data() + room_.size()); }
  std::string_view text() const { return {pbase(), static_cast<std::size_t>(pptr() - pbase())}; }

 private:
  std::array<char, 100'000> room_;
};

/// make() gives something new at every call.
template <class Make>
void expect_survival(Make&& make) {
  allocation::reset();
  const auto expected = make();
  const long allocations = allocation::counted();
  EXPECT_GT(allocations, 0);
  for (long n = 0; n < allocations; ++n) {
    allocation::reset(n);
    EXPECT_THROW(make(), std::bad_alloc) << "allocation " << n;
    allocation::reset();
  }
  EXPECT_TRUE(make() == expected);
}

TEST(EveryCall, AStepOfAnOptimiserIsWholeOrNothing) {
  const auto start = model(1), gradient = model(2);
  const auto step = [&](auto& optimiser, auto& parameters) { ASSERT_TRUE(optimiser.step(parameters, gradient)); };
  AdamW adam{start};
  expect_all_or_nothing(step, adam, start);
  Sgd sgd{start, {.momentum = 0.9, .nesterov = true}};
  expect_all_or_nothing(step, sgd, start);
  AdamW packing{start};
  packing.options.moments = MomentFormat::bfloat16;
  expect_all_or_nothing(step, packing, start);
  expect_all_or_nothing(step, AdamW{start, {.moments = MomentFormat::bfloat16}}, start);
  adam.frozen = sgd.frozen = {"a_router_with_a_very_long_name_indeed.weight.1"};
  expect_all_or_nothing(step, adam, start);
  expect_all_or_nothing(step, sgd, start);
}

TEST(EveryCall, WhatChangesAllParametersIsWholeOrNothing) {
  const auto start = model(1);
  expect_all_or_nothing([](auto& gradient) { clip_global_norm(gradient, 0.1); }, start);
  const Vector<double> flat = flatten(model(2));
  expect_all_or_nothing([&](auto& parameters) { unflatten(flat, parameters); }, start);
  expect_all_or_nothing(
      [](auto& parameters) {
        std::mt19937_64 generator{3};
        add_noise(parameters, 0.1, generator);
      },
      start);
}

TEST(EveryCall, SurgeryIsWholeOrNothing) {
  const auto start = layer(1);
  AdamW adam{start};
  auto trained = start;
  ASSERT_TRUE(adam.step(trained, layer(2)));
  std::mt19937_64 generator{3};
  const auto router = Router<float>::random(2, width, generator);
  const auto newcomers = make_experts<SwiGlu<float>>(2, width, hidden, generator);
  Load load;
  load.chosen = load.received = {5, 1, 9};
  expect_all_or_nothing([&](auto& l, auto& a) { add_experts(l, router, newcomers, a); }, trained, adam);
  expect_all_or_nothing([](auto& l, auto& a) { remove_expert(l, 1, a); }, trained, adam);
  expect_all_or_nothing([&](auto& l, auto& a) { prune_by_load(l, load, 2, a); }, trained, adam);
  expect_all_or_nothing([](auto& l, auto& a) { split_expert(l, 1, {}, a); }, trained, adam);
  expect_all_or_nothing([](auto& l, auto& a) { merge_experts(l, 2, 0, {}, a); }, trained, adam);
  expect_all_or_nothing([](auto& l, auto& a) { permute_experts(l, {2, 0, 1}, a); }, trained, adam);
}

TEST(EveryCall, WhatMakesPartsOfOthers) {
  std::mt19937_64 generator{1};
  const auto network = SwiGlu<float>::random(width, hidden + 1, generator, {.bias = true});
  const auto gradient = SwiGlu<float>::random(width, hidden + 1, generator, {.bias = true});
  auto router = Router<float>::random(experts, width, generator);
  router.bias_E.setOnes(experts);
  const auto flat = [](const auto& parts) {
    std::vector<Vector<double>> all;
    for (const auto& part : parts) all.push_back(flatten(part));
    return all;
  };
  expect_survival([&] { return flat(upcycle(network, 2, {.granularity = 2})); });
  expect_survival([&] { return flatten(repeat_rows(router, 3)); });
  expect_survival([&] { return flatten(select_units(network, {3, 1})); });
  for (const Index counted : {Index{0}, hidden + 1})
    expect_survival([&] {
      Vector<float> importance = Vector<float>::Ones(counted), before = importance;
      try {
        add_neuron_importance(network, gradient, importance);
      } catch (const std::bad_alloc&) {
        EXPECT_EQ(importance, before);
        throw;
      }
      return importance;
    });
  const auto routing = gating::route(ScoredTopK{.k = 2}, support::random_matrix<double>(6, 4, 5));
  for (const Index bins : {0, 10})
    expect_survival([&] {
      ScoredTopK gate{.k = 2}, before = gate;
      QuantileBalance balance{{.bins = bins}};
      try {
        balance.add(gate, routing);
      } catch (const std::bad_alloc&) {
        EXPECT_EQ(balance.tokens(), 0);
        throw;
      }
      try {
        balance.update(gate);
      } catch (const std::bad_alloc&) {
        EXPECT_EQ(balance.tokens(), 6);
        EXPECT_EQ(gate.selection_bias_E, before.selection_bias_E);
        throw;
      }
      return gate.selection_bias_E;
    });
  Load load;
  load.chosen = load.received = {5, 1, 9};
  for (const Index counted : {Index{0}, experts})
    expect_survival([&] {
      Vector<double> bias = Vector<double>::Ones(counted), before = bias;
      try {
        update_bias(bias, load, {.centered = true});
      } catch (const std::bad_alloc&) {
        EXPECT_EQ(bias, before);
        throw;
      }
      return bias;
    });
}

TEST(EveryCall, LoadingIsWholeOrNothing) {
  const TemporaryFolder folder;
  const auto saved = layer(1), other = layer(2);
  io::save(folder / "layer", saved);
  expect_all_or_nothing([&](auto& l) { io::load(folder / "layer", l); }, other);
  io::save(folder / "model", model(1));
  expect_all_or_nothing([&](auto& m) { io::load(folder / "model", m); }, model(2));
  AdamW adam{saved};
  auto trained = saved;
  ASSERT_TRUE(adam.step(trained, other));
  io::save(folder / "adam", adam);
  expect_all_or_nothing([&](auto& a) { io::load(folder / "adam", a); }, AdamW{saved});
}

TEST(EveryCall, SavingReplacesTheFileOrLeavesIt) {
  const TemporaryFolder folder;
  const auto path = folder / "a model with a long name.safetensors";
  const std::map<std::string, std::string> metadata{{"a key that is not short", "a value that is not short either"}};
  io::save(path, layer(2));
  const std::string before = read_file(path);
  const auto saved = layer(1);
  for (long n = 0;; ++n) {
    ASSERT_LT(n, 100'000);
    bool done = true;
    allocation::reset(n);
    try {
      io::save(path, saved, metadata);
    } catch (const std::bad_alloc&) {
      done = false;
    }
    allocation::reset();
    ASSERT_EQ(folder.files(), 1) << "allocation " << n;
    if (done) break;
    ASSERT_TRUE(read_file(path) == before) << "allocation " << n;
  }
  auto loaded = layer(2);
  io::load(path, loaded);
  EXPECT_EQ(numbers_of(loaded), numbers_of(saved));
}

TEST(EveryCall, AWriterThatFoundNoMemoryForATensorTakesItAgain) {
  const TemporaryFolder folder;
  const Matrix<float> values = Matrix<float>::Ones(30, 40);
  io::SafetensorsWriter writer;
  for (long n = 0;; ++n) {
    bool done = true;
    allocation::reset(n);
    try {
      writer.add("a tensor with a name that is not short", values);
    } catch (const std::bad_alloc&) {
      done = false;
    }
    allocation::reset();
    if (done) break;
  }
  writer.write(folder / "file");
  EXPECT_EQ(io::Safetensors::open(folder / "file").matrix<float>("a tensor with a name that is not short"), values);
}

TEST(EveryCall, OfReports) {
  const auto trained = layer(1);
  typename decltype(layer(1))::Tape tape;
  const Matrix<float> x_TD = support::random_matrix<float>(tokens, width, 4);
  trained.forward(x_TD, tape, Serial{});
  const auto written = [](auto&& write) {
    Room room;
    std::ostream out(&room);
    try {
      write(out);
    } catch (const std::bad_alloc&) {
      EXPECT_EQ(room.text(), "");  // all or nothing
      throw;
    }
    return std::string(room.text());
  };
  expect_survival([&] { return written([&](std::ostream& out) { write_routing_csv(out, tape.routing); }); });
  const std::vector<std::string> names{"a class with a long name, really long", "another one"};
  expect_survival([&] {
    return written([&](std::ostream& out) { write_heat_map_svg(out, Matrix<double>::Ones(2, 40), names, "title"); });
  });
  expect_survival([&] { return written([&](std::ostream& out) { out << load_of(tape.plan); }); });
  expect_survival([&] { return written([&](std::ostream& out) { out << cost_of(trained, tape); }); });
  expect_survival([&] { return written([&](std::ostream& out) { out << statistics_of(tape.routing, tape.plan); }); });
}

}  // namespace every_call_test
}  // namespace moe
