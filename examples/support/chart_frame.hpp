// What charts have in common: colours, axes that fit the data, title and legend.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "svg.hpp"
#include "table.hpp"

namespace example {

/// Told apart by those who see no red or no green as well (after Okabe and Ito 2008; no yellow, which is pale on
/// white).
inline std::string color(std::size_t i) {
  static constexpr std::array<std::string_view, 8> palette{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                           "#e69f00", "#56b4e9", "#222222", "#999999"};
  return std::string(palette[i % palette.size()]);
}

/// The least and the greatest of some numbers; those that are not finite do not count.
struct Range {
  double lowest = std::numeric_limits<double>::infinity(), highest = -lowest;

  void include(double value) {
    if (!std::isfinite(value)) return;
    lowest = (std::min)(lowest, value);
    highest = (std::max)(highest, value);
  }

  /// Wide enough to be divided.
  Range widened() const {
    if (lowest > highest) return {0, 1};
    const double margin = 0.1 + std::abs(lowest) / 10;
    return lowest < highest ? *this : Range{lowest - margin, highest + margin};
  }

  /// About so many make up the range: 1, 2 or 5 times a power of ten.
  double round_step(double steps) const {
    const double wanted = (highest - lowest) / steps, unit = std::pow(10, std::floor(std::log10(wanted)));
    for (const double times : {1.0, 2.0, 5.0})
      if (wanted < 1.5 * times * unit) return times * unit;
    return 10 * unit;
  }
};

namespace chart {

inline constexpr double width = 920, left = 86, right = 890, height = 560;

/// What the legend says of a series, with a mark like those of the plot.
struct Key {
  std::string name;
  enum class Mark { area, line, dashes } mark = Mark::area;
};

inline constexpr std::string_view dashes = R"( stroke-dasharray="7 5")";

/// Of a line of such a width, in the i-th colour.
inline std::string stroke(std::size_t i, double thickness, bool dashed) {
  return "stroke=\"" + color(i) + "\" stroke-width=\"" + label(thickness) + '"' + std::string(dashed ? dashes : "");
}

/// The i-th mark, 13 high. Returns where its name may begin.
inline double draw_mark(Svg& svg, Point at, std::size_t i, Key::Mark mark) {
  if (mark == Key::Mark::area) {
    svg.rectangle(at, {at.x + 13, at.y + 13}, "fill=\"" + color(i) + '"');
    return at.x + 20;
  }
  svg.line({at.x, at.y + 7}, {at.x + 26, at.y + 7}, stroke(i, 2.5, mark == Key::Mark::dashes));
  return at.x + 33;
}

/// The title and a row or more of marks with names. Returns where the rest of the picture may begin.
inline double head(Svg& svg, std::string_view title, std::string_view subtitle, const std::vector<Key>& keys) {
  svg.text({left, 40}, title, R"(font-size="20" fill="#111111")");
  svg.text({left, 64}, subtitle, R"(font-size="14" fill="#555555")");
  Point at{left, 82};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const double wide = text_width(keys[i].name, 14) + 55;
    if (at.x > left && at.x + wide > width) at = {left, at.y + 22};
    const double name_x = draw_mark(svg, at, i, keys[i].mark);
    svg.text({name_x, at.y + 12}, keys[i].name, R"(font-size="14" fill="#222222")");
    at.x += wide;
  }
  return at.y + 28;
}

/// How far a point lies from a line, in pixels.
inline double distance(Point p, const std::vector<Point>& line) {
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < line.size(); ++i) {
    const Point a = line[i > 0 ? i - 1 : 0], b = line[i];
    const double dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
    const double share = length > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0.0, 1.0) : 0;
    least = (std::min)(least, std::hypot(p.x - a.x - share * dx, p.y - a.y - share * dy));
  }
  return least;
}

/// Of lines that are drawn one after the other: a line that later ones hide in large part is wider than they are, so
/// that it is seen on both sides of them.
inline std::vector<double> widths(const std::vector<std::vector<Point>>& lines) {
  std::vector<double> list(lines.size(), 2.5);
  for (std::size_t i = lines.size(); i-- > 0;)
    for (std::size_t later = i + 1; later < lines.size(); ++later) {
      const auto hidden = std::count_if(lines[i].begin(), lines[i].end(),
                                        [&](const Point& p) { return distance(p, lines[later]) < 2.5; });
      if (4 * static_cast<std::size_t>(hidden) > lines[i].size()) list[i] = (std::max)(list[i], list[later] + 3.5);
    }
  return list;
}

struct Axis {
  double lowest, highest;
  std::vector<Tick> ticks;
  std::string_view name;
};

/// Begins and ends at ticks.
inline Axis rounded(const Range& range, std::string_view name) {
  const double step = range.round_step(6);
  const double lowest = step * std::floor(range.lowest / step + 1e-9);
  const double highest = step * std::ceil(range.highest / step - 1e-9);
  return {lowest, highest, ticks(lowest, highest, step), name};
}

/// A unit for each of the names; an empty one leaves a gap.
inline Axis named(const std::vector<std::string>& names, std::string_view axis_name) {
  Axis axis{0, (std::max)(1.0, static_cast<double>(names.size())), {}, axis_name};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!names[i].empty()) axis.ticks.push_back({static_cast<double>(i) + 0.5, names[i]});
  return axis;
}

/// The axes, and lines across from the ticks of y.
inline Plot frame(Svg& svg, double top, const Axis& x, const Axis& y) {
  const double plot_left = (std::max)(left, Plot::width_beside(y.ticks) + 32);
  Plot plot{{plot_left, top}, {right, height}, {x.lowest, y.lowest}, {x.highest, y.highest}};
  plot.bottom_right.y -= plot.depth_below(x.ticks) + 26;
  for (const Tick& tick : y.ticks)
    svg.line(plot(Point{x.lowest, tick.at}), plot(Point{x.highest, tick.at}), R"(stroke="#e4e4e4")");
  plot.draw_axes(svg, x.ticks, y.ticks, x.name, y.name);
  return plot;
}

/// Whether numbers of this range, with so many digits, are narrower than this.
inline bool fit(const Range& range, int digits, double font_size, double most_width) {
  const auto wide = [&](double number) { return text_width(fixed(number, digits), font_size); };
  return (std::max)(wide(range.lowest), wide(range.highest)) < most_width;
}

}  // namespace chart

}  // namespace example
