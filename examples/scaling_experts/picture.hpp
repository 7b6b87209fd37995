// Two charts side by side: how well more experts tell the text, and what they cost.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/chart_frame.hpp"
#include "../support/svg.hpp"
#include "run.hpp"

namespace scaling {

using example::Point;
using example::Range;

/// Of experts on a logarithmic axis, as all that is drawn here.
struct Curve {
  std::string name;
  std::vector<Point> points;

  Curve(std::string name_, const std::vector<Result>& results, double Result::*quantity, bool relative)
      : name(std::move(name_)) {
    for (const Result& r : results)
      points.push_back({std::log2(static_cast<double>(r.experts)),
                        relative ? std::log2(times(quantity, r, results.front())) : r.*quantity});
  }
};

struct Panel {
  double left, right;
  std::string_view title, y_name;
  bool log2_y;
  std::vector<Curve> curves;
};

inline std::vector<example::Tick> powers_of_2(double lowest, double highest) {
  std::vector<example::Tick> list = example::ticks(lowest, highest, 1);
  for (example::Tick& tick : list) tick.label = example::label(std::exp2(tick.at));
  return list;
}

inline void draw(example::Svg& svg, const Panel& panel) {
  constexpr double top = 160, bottom = 500;
  Range x, y;
  for (const Curve& curve : panel.curves)
    for (const Point& p : curve.points) {
      x.include(p.x);
      y.include(p.y);
    }
  const example::chart::Axis rounded = example::chart::rounded(y.widened(), panel.y_name);
  const Range range = panel.log2_y ? Range{std::floor(y.lowest), std::ceil((std::max)(1.0, y.highest))}
                                   : Range{rounded.lowest, rounded.highest};
  const example::Plot plot{
      {panel.left, top}, {panel.right, bottom}, {x.lowest, range.lowest}, {x.highest, range.highest}};
  plot.draw_axes(svg, powers_of_2(x.lowest, x.highest),
                 panel.log2_y ? powers_of_2(range.lowest, range.highest) : rounded.ticks, "experts", panel.y_name);
  svg.text({panel.left, 88}, panel.title, R"(font-size="15" fill="#222222")");
  std::vector<std::vector<Point>> lines;
  for (const Curve& curve : panel.curves) lines.push_back(plot(curve.points));
  const std::vector<double> widths = example::chart::widths(lines);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const double name_y = 95 + 17 * static_cast<double>(i);
    const double name_x = example::chart::draw_mark(svg, {panel.left, name_y}, i, example::chart::Key::Mark::line);
    svg.text({name_x, name_y + 11}, panel.curves[i].name, R"(font-size="13" fill="#222222")");
    svg.polyline(lines[i], example::chart::stroke(i, widths[i], false));
    for (const Point& p : lines[i]) svg.circle(p, 2.75 + widths[i] / 2, "fill=\"" + example::color(i) + '"');
  }
}

inline example::Svg draw(const std::vector<Result>& results) {
  example::Svg svg(example::chart::width, example::chart::height);
  example::chart::head(svg, "More experts at the same work for each byte",
                       "byte-level transformers on four kinds of text; each byte meets one expert of the second block",
                       {});
  draw(svg, Panel{86,
                  440,
                  "how well they tell the text",
                  "bits per byte",
                  false,
                  {{"held out", results, &Result::held_out_bits, false},
                   {"in training", results, &Result::training_bits, false}}});
  draw(svg, Panel{540,
                  894,
                  "what they cost",
                  "times as much as one expert",
                  true,
                  {{"parameters", results, &Result::parameters, true},
                   {"time for a byte in training", results, &Result::training_us, true},
                   {"time for a byte in inference", results, &Result::inference_us, true}}});
  return svg;
}

}  // namespace scaling
