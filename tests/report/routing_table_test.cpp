#include "moe/report/routing_table.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "moe/loss/losses.hpp"
#include "moe/report/heat_map.hpp"
#include "moe/routing/load.hpp"
#include "support/expect_invalid.hpp"
#include "support/german_locale.hpp"

namespace moe {
namespace routing_table_test {

std::vector<std::string> names(std::size_t count) { return std::vector<std::string>(count, "name"); }

// Three tokens, the last is padding, two experts of one place: token 1's choice of expert 0 finds no room.
struct Report : ::testing::Test {
  Matrix<double> x_TD = Matrix<double>::Zero(3, 1);
  std::vector<std::uint8_t> valid{1, 1, 0};
  Routing<double> routing;
  Plan<double> plan;

  Report() {
    Batch<double> batch = x_TD;
    batch.valid = valid;
    routing.reset(batch, 2);
    routing.probabilities_TE = Matrix<double>{{1, 0}, {.5, .5}, {9, 9}};
    routing.choices = {{0, 0, .75}, {1, 0, .25}, {0, 1, .5, 1, Fate::unsent}};
    plan.build(batch, routing, Capacity::exactly(1), true);
  }
};

TEST_F(Report, Statistics) {
  const RoutingStatistics s = statistics_of(routing, plan);
  EXPECT_EQ(s.tokens, 2);
  EXPECT_EQ(s.sent, 2);
  EXPECT_EQ(s.dropped, 1);
  EXPECT_EQ(s.unsent, 1);
  EXPECT_EQ(s.tokens_without_expert, 1);
  EXPECT_DOUBLE_EQ(s.experts_per_token, .5);
  EXPECT_DOUBLE_EQ(s.capacity_factor, 1);  // two places for two choices
  const double of_mean = -.75 * std::log(.75) - .25 * std::log(.25), mean = std::log(2.) / 2;
  EXPECT_NEAR(s.entropy_of_mean, of_mean, 1e-15);
  EXPECT_NEAR(s.mean_entropy, mean, 1e-15);
  EXPECT_NEAR(s.mutual_information, of_mean - mean, 1e-15);
  std::ostringstream out;
  out << s;
  EXPECT_NE(out.str().find("1 dropped over the capacity, 1 not sent"), std::string::npos);
}

TEST_F(Report, WithoutACapacityThereIsNoFactor) {
  for (Choice<double>& c : routing.choices) c.fate = Fate::sent;
  Batch<double> batch = x_TD;
  batch.valid = valid;
  const auto said = [&](const Capacity& capacity, bool training) {
    plan.build(batch, routing, capacity, training);
    std::ostringstream out;
    out << statistics_of(routing, plan);
    return out.str();
  };
  EXPECT_NE(said(Capacity::unlimited(), true).find("; no limit of capacity; "), std::string::npos);
  EXPECT_TRUE(std::isinf(statistics_of(routing, plan).capacity_factor));
  const Capacity in_training = Capacity::factor(1).at_inference(Capacity::unlimited());
  EXPECT_NE(said(in_training, false).find("; no limit of capacity; "), std::string::npos);
  EXPECT_NE(said(in_training, true).find("; effective capacity factor "), std::string::npos);
}

TEST_F(Report, EveryChoiceIsALine) {
  std::ostringstream out;
  write_routing_csv(out, routing);
  EXPECT_EQ(out.str(), "token,expert,rank,weight,fate\n0,0,0,0.75,sent\n1,0,0,0.25,dropped\n0,1,1,0.5,unsent\n");
}

TEST_F(Report, NumbersAreThoseThatProgramsRead) {
  for (int t = 0; t < 1234; ++t) routing.choices.push_back({t, 0, .0625});
  plan.chosen = {1234, 5};
  const auto written = [&] {
    std::vector<std::string> all;
    const auto keep = [&](auto&& write) {
      std::ostringstream out;
      support::set_odd_flags(out);
      write(out);
      all.push_back(out.str().substr(out.str().find_first_not_of('*')));  // a sentence may be padded
    };
    keep([&](std::ostream& out) { write_routing_csv(out, routing); });
    keep([&](std::ostream& out) { write_heat_map_svg(out, Matrix<double>::Ones(30, 30), names(30), "title"); });
    keep([&](std::ostream& out) { out << statistics_of(routing, plan); });
    keep([&](std::ostream& out) { out << load_of(plan); });
    keep([&](std::ostream& out) { out << LossValue{"loss", 1234.5, 0.01}; });
    return all;
  };
  const auto plain = written();
  EXPECT_NE(plain[0].find("\n1233,0,0,0.0625,sent\n"), std::string::npos);
  EXPECT_NE(plain[1].find("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1500\""), std::string::npos);
  const support::GermanLocale german;
  EXPECT_EQ(written(), plain);
}

TEST_F(Report, CountsByClass) {
  const std::vector<Index> labels{1, 0, 0}, wrong{2, 0, 0}, few{0};
  EXPECT_EQ(count_by_class(plan, labels, 2), (Matrix<double>{{0, 0}, {1, 0}}));
  support::expect_invalid([&] { count_by_class(plan, wrong, 2); }, {"token 0 has label 2"});
  support::expect_invalid([&] { count_by_class(plan, few, 2); }, {"1 labels for 3"});
}

TEST(HeatMap, SharesOfEachRow) {
  std::ostringstream out;
  write_heat_map_svg(out, Matrix<double>{{3, 1}, {0, 0}}, {"a<b", "none"}, "experts & classes");
  const std::string svg = out.str();
  EXPECT_EQ(svg.find("<svg"), 0u);
  for (const char* part : {">75<", ">25<", ">0<", "a&lt;b", "experts &amp; classes", "</svg>"})
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  for (const char* name : {">expert<", ">class<", ">% of the row<"})
    EXPECT_NE(svg.find(name), std::string::npos) << name;
  std::ostringstream named;
  write_heat_map_svg(named, Matrix<double>{{3, 1}}, {"a"}, "", "language");
  EXPECT_NE(named.str().find(">language<"), std::string::npos);
  support::expect_invalid([&] { write_heat_map_svg(out, Matrix<double>::Zero(2, 2), {"one"}, ""); }, {"1 names for 2"});
}

}  // namespace routing_table_test
}  // namespace moe
