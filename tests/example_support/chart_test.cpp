#include "support/chart.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

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
  EXPECT_EQ(test::times(text, "stroke-dasharray"), 2);  // in the plot and in the legend
  EXPECT_EQ(test::times(text, "nan"), 0);
}

TEST(Chart, TheLegendHasTheMarksOfThePlot) {
  const auto marks = [](const auto& chart, const std::string& file) {
    const std::string text = test::saved(chart.draw(), file), head = text.substr(0, text.find(">b<"));
    return std::pair(test::times(head, "<line"), test::times(head, "<rect") - 1);  // one is the paper
  };
  const example::LineChart lines{.series = {{"a", {{0, 1}, {1, 2}}}, {"b", {{0, 3}, {1, 3}}, true}}};
  EXPECT_EQ(marks(lines, "marks.svg"), std::pair(2, 0));
  const example::BarChart bars{.groups = {"g"}, .series = {{"a", {1}}, {"b", {2}}}};
  EXPECT_EQ(marks(bars, "marks.svg"), std::pair(0, 2));
}

TEST(Chart, ALineThatOthersHideIsWider) {
  const std::vector<example::Point> line{{0, 0}, {50, 50}, {100, 0}}, apart{{0, 40}, {50, 90}, {100, 40}};
  EXPECT_EQ(example::chart::widths({line, apart}), (std::vector<double>{2.5, 2.5}));
  EXPECT_EQ(example::chart::widths({line, line, line}), (std::vector<double>{9.5, 6, 2.5}));
  EXPECT_EQ(example::chart::widths({{{10, 10}, {40, 40}}, apart, line}), (std::vector<double>{6, 2.5, 2.5}));
  EXPECT_EQ(example::chart::widths({{}, line}), (std::vector<double>{2.5, 2.5}));
  EXPECT_DOUBLE_EQ(example::chart::distance({0, 100}, line), std::hypot(50, 50));
  const example::LineChart chart{.series = {{"below", {{0, 1}, {1, 2}}}, {"above", {{0, 1}, {1, 2}}}}};
  const std::string text = test::saved(chart.draw(), "hidden.svg");
  EXPECT_LT(text.find(R"(stroke-width="6")"), text.rfind(R"(stroke-width="2.5")"));
}

TEST(Chart, LogarithmsOfY) {
  const example::LineChart chart{.log_y = true, .series = {{"ms", {{1, 1.5}, {2, 30}, {3, 0}}}}};
  const std::string text = test::saved(chart.draw(), "logarithms.svg");
  for (const char* label : {">1<", ">2<", ">5<", ">10<", ">20<", ">50<"})
    EXPECT_GE(test::times(text, label), 1) << label;
  EXPECT_EQ(test::times(text, ">1<"), 2);  // of y and of x
  EXPECT_EQ(test::times(text, ">100<"), 0);
  EXPECT_EQ(test::times(text, ">0.5<"), 0);
}

TEST(Chart, BandsStandBehindTheLines) {
  const example::LineChart chart{.series = {{"a", {{2, 1}, {3, 2}}}}, .bands = {{"first", 0, 2}, {"second", 2, 4}}};
  const std::string text = test::saved(chart.draw(), "bands.svg");
  for (const char* label : {">first<", ">second<", ">0<", ">4<"}) EXPECT_EQ(test::times(text, label), 1) << label;
  EXPECT_LT(text.find(">second<"), text.find("<polyline"));
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

TEST(Chart, HeatMapsNameAxesAndUnitAndStandApart) {
  example::HeatMap chart{.x_name = "expert", .y_name = "domain", .unit = "share of tokens"};
  chart.rows = {"a", "b"};
  chart.columns = {"left", "", "right"};
  chart.values.resize(2, 3);
  chart.values << 0, nan_value, 1, 1, nan_value, 0;
  const std::string text = test::saved(chart.draw(), "maps.svg");
  for (const char* label : {">expert<", ">domain<", "share of tokens<"})
    EXPECT_EQ(test::times(text, label), 1) << label;
  EXPECT_EQ(test::times(text, "stroke=\"#ffffff\""), 4);
  EXPECT_EQ(example::chart::named({"left", "", "right"}, "").ticks.size(), 2);
  EXPECT_EQ(example::chart::named({"left", "", "right"}, "").ticks[1].at, 2.5);
}

TEST(Chart, NothingToShow) {
  EXPECT_EQ(test::times(test::saved(example::LineChart{}.draw(), "none.svg"), "nan"), 0);
  EXPECT_EQ(test::times(test::saved(example::BarChart{}.draw(), "none.svg"), "nan"), 0);
  EXPECT_EQ(test::times(test::saved(example::HeatMap{}.draw(), "none.svg"), "nan"), 0);
  EXPECT_EQ(test::times(test::saved(example::LineChart{.log_y = true}.draw(), "none.svg"), "nan"), 0);
}

}  // namespace chart_test
