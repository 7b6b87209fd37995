#include "support/svg.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include "file_text.hpp"
#include "gtest/gtest.h"

namespace svg_test {

using example::Plot;
using example::Point;
using example::Svg;

TEST(Svg, EscapesText) {
  Svg svg(20, 10);
  svg.text({1, 2}, "a < b & c", "");
  const std::string text = test::saved(svg, "text.svg");
  EXPECT_EQ(test::times(text, ">a &lt; b &amp; c</text>"), 1);
  EXPECT_TRUE(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
  EXPECT_THROW(svg.save(test::scratch_path("no_such_folder/text.svg")), std::runtime_error);
}

std::vector<std::string> labels(double lowest, double highest, double step) {
  std::vector<std::string> list;
  for (const example::Tick& tick : example::ticks(lowest, highest, step)) list.push_back(tick.label);
  return list;
}

TEST(Svg, TicksAreMultiplesWithoutRounding) {
  EXPECT_EQ(labels(0, 0.3, 0.1), (std::vector<std::string>{"0", "0.1", "0.2", "0.3"}));
  EXPECT_EQ(labels(-0.2, 0.1, 0.1), (std::vector<std::string>{"-0.2", "-0.1", "0", "0.1"}));
  EXPECT_EQ(labels(1e6 - 1, 3e6, 1e6), (std::vector<std::string>{"1000000", "2000000", "3000000"}));
  EXPECT_EQ(labels(11, 29, 10), std::vector<std::string>{"20"});
}

TEST(Plot, MapsCornersToCorners) {
  const Plot plot{{100, 50}, {300, 250}, {-1, 10}, {1, 30}};
  EXPECT_EQ(plot(Point{-1, 10}).x, 100);
  EXPECT_EQ(plot(Point{-1, 10}).y, 250);
  EXPECT_EQ(plot(Point{1, 30}).x, 300);
  EXPECT_EQ(plot(Point{1, 30}).y, 50);
}

TEST(Plot, TurnsLabelsThatWouldCollide) {
  const Plot plot{{100, 50}, {300, 250}, {0, 0}, {2, 1}};
  const auto turned = [&](const std::string& label) {
    Svg svg(400, 300);
    plot.draw_axes(svg, {{0.5, label}, {1.5, label}}, {}, "", "");
    return test::times(test::saved(svg, "axes.svg"), "rotate(-90") - 1;  // the name of y always is
  };
  EXPECT_EQ(turned("short"), 0);
  EXPECT_EQ(turned("as long as half of the plot"), 2);
}

}  // namespace svg_test
