#include "support/chart.hpp"

#include <limits>
#include <string>

#include "file_text.hpp"
#include "gtest/gtest.h"

namespace chart_test {

using example::Range;

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

TEST(Range, StepsAreRound) {
  EXPECT_DOUBLE_EQ((Range{0, 6}.round_step(6)), 1);
  EXPECT_DOUBLE_EQ((Range{0, 1200}.round_step(8)), 200);
  EXPECT_DOUBLE_EQ((Range{1.87, 3.52}.round_step(6)), 0.2);
  EXPECT_DOUBLE_EQ((Range{0, 5.5e-4}.round_step(6)), 1e-4);
  EXPECT_DOUBLE_EQ((Range{0, 55}.round_step(6)), 10);
}

TEST(Range, LeavesOutWhatIsNotFinite) {
  Range range;
  for (const double value : {2.0, nan_value, -std::numeric_limits<double>::infinity(), 1.0}) range.include(value);
  EXPECT_EQ(range.lowest, 1);
  EXPECT_EQ(range.highest, 2);
  EXPECT_LT(Range().widened().lowest, Range().widened().highest);
  EXPECT_LT((Range{5, 5}.widened().lowest), 5);
}

TEST(Chart, AxesEndAtTicksAndHoldTheData) {
  const example::chart::Axis axis = example::chart::rounded({1.87, 3.52}, "bits per byte");
  EXPECT_DOUBLE_EQ(axis.lowest, 1.8);
  EXPECT_DOUBLE_EQ(axis.highest, 3.6);
  EXPECT_EQ(axis.ticks.front().label, "1.8");
  EXPECT_EQ(axis.ticks.back().label, "3.6");
}

TEST(Chart, LinesOverPowersOf2) {
  const example::LineChart chart{
      .title = "t",
      .x_name = "experts",
      .log2_x = true,
      .series = {{"loss", {{1, 5}, {8, 4}, {64, 3}, {16, nan_value}}}, {"a table", {{1, 4}, {64, 4}}, true}}};
  const std::string text = test::saved(chart.draw(), "lines.svg");
  for (const char* label : {">1<", ">2<", ">32<", ">64<", ">loss<", ">a table<", ">experts<"})
    EXPECT_EQ(test::times(text, label), 1) << label;
  EXPECT_EQ(test::times(text, "<polyline"), 2);
  EXPECT_EQ(test::times(text, "<circle"), 3);
  EXPECT_EQ(test::times(text, "stroke-dasharray"), 1);
  EXPECT_EQ(test::times(text, "nan"), 0);
}

TEST(Chart, Bars) {
  const example::BarChart chart{
      .groups = {"old", "new"}, .series = {{"dense", {1.5, nan_value}}, {"mixture", {1.25, -2}}}, .digits = 2};
  const std::string text = test::saved(chart.draw(), "bars.svg");
  EXPECT_EQ(test::times(text, "fill=\"" + example::color(0) + '"'), 2);  // with that of the legend
  EXPECT_EQ(test::times(text, "fill=\"" + example::color(1) + '"'), 3);
  for (const char* label : {">1.50<", ">1.25<", ">-2.00<", ">old<", ">new<"})
    EXPECT_EQ(test::times(text, label), 1) << label;
  EXPECT_EQ(test::times(text, "nan"), 0);
}

TEST(Chart, HeatMap) {
  example::HeatMap chart{.rows = {"English", "Spanish"}, .columns = {"1", "2"}, .digits = 1};
  chart.values.resize(2, 2);
  chart.values << 0, 0.5, nan_value, 0.9;
  const std::string text = test::saved(chart.draw(), "map.svg");
  EXPECT_EQ(test::times(text, "stroke=\"#ffffff\""), 3);
  EXPECT_EQ(test::times(text, "stroke=\"#ffffff\" fill=\"#08306b\""), 1);
  EXPECT_EQ(test::times(text, ">0.5<"), 1);
  EXPECT_LT(text.find(">English<"), text.find(">Spanish<"));
}

TEST(Chart, NothingToShow) {
  EXPECT_EQ(test::times(test::saved(example::LineChart{}.draw(), "none.svg"), "nan"), 0);
  EXPECT_EQ(test::times(test::saved(example::BarChart{}.draw(), "none.svg"), "nan"), 0);
  EXPECT_EQ(test::times(test::saved(example::HeatMap{}.draw(), "none.svg"), "nan"), 0);
}

}  // namespace chart_test
