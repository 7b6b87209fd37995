// Lines, bars and heat maps: fill in what is to be shown, and `chart.draw().save(path)`.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iomanip>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chart_frame.hpp"
#include "moe/core/core.hpp"
#include "plain.hpp"
#include "svg.hpp"
#include "table.hpp"

namespace example {

/// Points that are not finite are left out.
struct LineChart {
  struct Series {
    std::string name;
    std::vector<Point> points;
    bool dashed = false;  ///< Such as what another method reaches.
  };
  /// A part of the x axis that has a name.
  struct Band {
    std::string name;
    double from, to;
  };

  std::string title = {}, subtitle = {}, x_name = {}, y_name = {};
  bool log2_x = false, log_y = false;  ///< What is shown so must be greater than 0.
  std::vector<Series> series = {};
  std::vector<Band> bands = {};

  Svg draw() const {
    std::vector<chart::Key> keys;
    std::vector<std::vector<Point>> lines;
    Range x, y;
    for (const Series& line : series) {
      keys.push_back({line.name, line.dashed ? chart::Key::Mark::dashes : chart::Key::Mark::line});
      lines.push_back(shown(line.points));
      for (const Point& p : lines.back()) {
        x.include(p.x);
        y.include(p.y);
      }
    }
    for (const Band& band : bands) {
      x.include(band.from);
      x.include(band.to);
    }
    if (!bands.empty()) y.include(y.highest + 0.12 * (y.highest - y.lowest));  // where their names stand
    Svg svg(chart::width, chart::height);
    const double top = chart::head(svg, title, subtitle, keys);
    const Plot plot = chart::frame(svg, top, x_axis(x), y_axis(y.widened()));
    draw_bands(svg, plot);
    for (std::vector<Point>& line : lines) line = plot(line);
    const std::vector<double> widths = chart::widths(lines);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      svg.polyline(lines[i], chart::stroke(i, widths[i], series[i].dashed));
      if (lines[i].size() <= 20 && !series[i].dashed)
        for (const Point& p : lines[i]) svg.circle(p, 2.75 + widths[i] / 2, "fill=\"" + color(i) + '"');
    }
    return svg;
  }

 private:
  void draw_bands(Svg& svg, const Plot& plot) const {
    for (std::size_t i = 0; i < bands.size(); ++i) {
      const Point a = plot(Point{bands[i].from, plot.highest.y}), b = plot(Point{bands[i].to, plot.lowest.y});
      svg.rectangle(a, b, R"(fill-opacity="0.12" fill=")" + color(i + 4) + '"');
      svg.text({(a.x + b.x) / 2, a.y + 20}, bands[i].name, R"(font-size="14" fill="#555555" text-anchor="middle")");
    }
  }

  std::vector<Point> shown(const std::vector<Point>& points) const {
    std::vector<Point> list;
    for (Point p : points) {
      if (log2_x) p.x = std::log2(p.x);
      if (log_y) p.y = std::log10(p.y);
      if (std::isfinite(p.x) && std::isfinite(p.y)) list.push_back(p);
    }
    return list;
  }

  /// From the first point to the last, or from a power of 2 to another.
  chart::Axis x_axis(Range x) const {
    x = x.widened();
    if (!log2_x) return {x.lowest, x.highest, ticks(x.lowest, x.highest, x.round_step(8)), x_name};
    x = {std::floor(x.lowest), std::ceil(x.highest)};
    std::vector<Tick> powers = ticks(x.lowest, x.highest, std::ceil((x.highest - x.lowest) / 12));
    for (Tick& tick : powers) tick.label = label(std::exp2(tick.at));
    return {x.lowest, x.highest, powers, x_name};
  }

  /// From a tick to another; of logarithms at 1, 2, 5, 10, ...
  chart::Axis y_axis(const Range& y) const {
    if (!log_y) return chart::rounded(y, y_name);
    std::vector<Tick> list;
    for (double decade = std::floor(y.lowest); decade <= std::ceil(y.highest); ++decade)
      for (const double digit : {1.0, 2.0, 5.0}) {
        const double at = decade + std::log10(digit);
        if (at <= y.lowest) list.clear();
        if (list.empty() || list.back().at < y.highest) list.push_back({at, label(digit * std::pow(10, decade))});
      }
    return {list.front().at, list.back().at, list, y_name};
  }
};

/// Groups of bars from 0.
struct BarChart {
  struct Series {
    std::string name;
    std::vector<double> values;  ///< One for each group; none is drawn where it is not finite.
  };

  std::string title = {}, subtitle = {}, x_name = {}, y_name = {};
  std::vector<std::string> groups = {};
  std::vector<Series> series = {};
  int digits = 2;  ///< How many digits the numbers at the bars have; they are left out where they do not fit.

  Svg draw() const {
    std::vector<chart::Key> keys;
    Range y{0, 0};
    for (const Series& bars : series) {
      keys.push_back({bars.name});
      for (const double value : bars.values) y.include(1.05 * value);  // the number stands beyond the bar
    }
    Svg svg(chart::width, chart::height);
    const double top = chart::head(svg, title, subtitle, keys);
    const Plot plot = chart::frame(svg, top, chart::named(groups, x_name), chart::rounded(y.widened(), y_name));
    const double pitch = 0.84 / static_cast<double>(series.size());
    const bool numbers = chart::fit(y, digits, 11, plot(Point{pitch, 0}).x - plot(Point{0, 0}).x);
    for (std::size_t g = 0; g < groups.size(); ++g)
      for (std::size_t s = 0; s < series.size(); ++s) {
        const double value = series[s].values.at(g), x = static_cast<double>(g) + 0.08 + static_cast<double>(s) * pitch;
        if (!std::isfinite(value)) continue;
        const Point a = plot(Point{x, (std::max)(value, 0.0)});
        const Point b = plot(Point{x + 0.92 * pitch, (std::min)(value, 0.0)});
        svg.rectangle(a, b, "fill=\"" + color(s) + '"');
        if (numbers)
          svg.text({(a.x + b.x) / 2, value < 0 ? b.y + 12 : a.y - 4}, fixed(value, digits),
                   R"(font-size="11" fill="#444444" text-anchor="middle")");
      }
    svg.line(plot(Point{0, 0}), plot(Point{plot.highest.x, 0}), R"(stroke="#444444")");
    return svg;
  }
};

/// A matrix as colours, from white for 0 (or the least, if that is less) to dark blue for the greatest. A column
/// without a name, whose values are not finite, keeps what stands left and right of it apart.
struct HeatMap {
  std::string title = {}, subtitle = {}, x_name = {}, y_name = {};
  std::string unit = {};  ///< What the numbers are.
  std::vector<std::string> rows = {}, columns = {};
  moe::Matrix<double> values = {};
  int digits = 2;  ///< How many digits the numbers in the cells have; they are left out where they do not fit.

  Svg draw() const {
    Range range{0, 0};
    for (const double value : values.reshaped()) range.include(value);
    range = range.widened();
    Svg svg(chart::width, chart::height);
    const double top = chart::head(svg, title, subtitle, {});
    draw_key(svg, range);
    chart::Axis y = chart::named(rows, y_name);
    std::swap(y.lowest, y.highest);  // the first row on top
    const Plot plot = chart::frame(svg, top, chart::named(columns, x_name), y);
    const Point corner = plot(Point{0, 0}), cell{plot(Point{1, 0}).x - corner.x, plot(Point{0, 1}).y - corner.y};
    for (std::size_t c = 0; c < columns.size(); ++c)  // a gap has no frame either
      if (columns[c].empty()) {
        const double x = corner.x + static_cast<double>(c) * cell.x;
        svg.rectangle({x + 1, plot.top_left.y - 1}, {x + cell.x - 1, plot.bottom_right.y + 1}, R"(fill="#ffffff")");
      }
    const bool numbers = cell.y > 14 && chart::fit(range, digits, 12, cell.x - 4);
    for (moe::Index r = 0; r < values.rows(); ++r)
      for (moe::Index c = 0; c < values.cols(); ++c) {
        if (!std::isfinite(values(r, c))) continue;
        const double depth = (values(r, c) - range.lowest) / (range.highest - range.lowest);
        const Point a{corner.x + static_cast<double>(c) * cell.x, corner.y + static_cast<double>(r) * cell.y};
        svg.rectangle(a, {a.x + cell.x, a.y + cell.y}, "stroke=\"#ffffff\" fill=\"" + shade(depth) + '"');
        if (numbers)
          svg.text({a.x + cell.x / 2, a.y + cell.y / 2 + 4}, fixed(values(r, c), digits),
                   R"(font-size="12" text-anchor="middle" fill=)" + std::string(depth > .5 ? "'#fff'" : "'#222'"));
      }
    return svg;
  }

 private:
  /// Straight from white to dark blue.
  static std::string shade(double depth) {
    std::ostringstream code = plain(std::ostringstream());
    code << '#' << std::hex << std::setfill('0');
    for (const double end : {8.0, 48.0, 107.0}) code << std::setw(2) << std::lround(255 + depth * (end - 255));
    return code.str();
  }

  void draw_key(Svg& svg, const Range& range) const {
    const std::string style = R"(font-size="13" fill="#444444")", from = fixed(range.lowest, digits);
    double x = chart::left + text_width(from, 13) + 8;
    svg.text({chart::left, 94}, from, style);
    for (int i = 0; i <= 20; ++i, x += 8) svg.rectangle({x, 83}, {x + 8.5, 96}, "fill=\"" + shade(i / 20.0) + '"');
    svg.text({x + 8, 94}, fixed(range.highest, digits) + (unit.empty() ? "" : "  " + unit), style);
  }
};

}  // namespace example
