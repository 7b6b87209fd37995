// Pictures as SVG files: shapes in pixels, and a plot that maps data to them.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "plain.hpp"

namespace example {

struct Point {
  double x, y;
};

/// Shapes in the order in which they are painted. `style` is what stands in the element's tag besides: `fill="#fff"`.
class Svg {
 public:
  Svg(double width, double height) {
    out_ << R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 )" << width << ' ' << height << R"(" width=")"
         << width << R"(" height=")" << height << R"(" font-family="'DejaVu Sans', 'Noto Sans', sans-serif">)" << '\n';
    rectangle({0, 0}, {width, height}, R"(fill="#ffffff")");
  }

  void rectangle(Point a, Point b, std::string_view style) {
    out_ << "<rect x=\"" << a.x << "\" y=\"" << a.y << "\" width=\"" << b.x - a.x << "\" height=\"" << b.y - a.y
         << "\" " << style << "/>\n";
  }

  void line(Point a, Point b, std::string_view style) {
    out_ << "<line x1=\"" << a.x << "\" y1=\"" << a.y << "\" x2=\"" << b.x << "\" y2=\"" << b.y << "\" " << style
         << "/>\n";
  }

  void circle(Point center, double radius, std::string_view style) {
    out_ << "<circle cx=\"" << center.x << "\" cy=\"" << center.y << "\" r=\"" << radius << "\" " << style << "/>\n";
  }

  void polygon(const std::vector<Point>& corners, std::string_view style) { corner_list("polygon", corners, style); }

  void polyline(const std::vector<Point>& points, std::string_view style) {
    corner_list("polyline", points, std::string(style) + " fill=\"none\"");
  }

  void text(Point at, std::string_view words, std::string_view style) {
    out_ << "<text x=\"" << at.x << "\" y=\"" << at.y << "\" " << style << '>' << escaped(words) << "</text>\n";
  }

  /// To turn a text about a place, in degrees.
  static std::string rotated(double degrees, Point about) {
    std::ostringstream attribute = plain(std::ostringstream());
    attribute << " transform=\"rotate(" << degrees << ' ' << about.x << ' ' << about.y << ")\"";
    return attribute.str();
  }

  /// Throws std::runtime_error if the file cannot be written.
  void save(const std::string& path) const {
    std::ofstream file(path);
    file << out_.str() << "</svg>\n";
    file.close();
    if (!file) throw std::runtime_error("cannot write " + path);
  }

 private:
  void corner_list(std::string_view element, const std::vector<Point>& points, std::string_view style) {
    out_ << '<' << element << " points=\"";
    for (const Point& p : points) out_ << p.x << ',' << p.y << ' ';
    out_ << "\" " << style << "/>\n";
  }

  static std::string escaped(std::string_view words) {
    std::string text;
    for (const char c : words)
      if (c == '&')
        text += "&amp;";
      else if (c == '<')
        text += "&lt;";
      else
        text += c;
    return text;
  }

  std::ostringstream out_ = plain(std::ostringstream());
};

struct Tick {
  double at;  ///< In units of the data.
  std::string label;
};

/// Without trailing zeros.
inline std::string label(double value) {
  std::ostringstream text = plain(std::ostringstream());
  text << std::setprecision(10) << value + 0.0;  // not -0
  return text.str();
}

/// About as wide as it is in pixels; UTF-8.
inline double text_width(std::string_view text, double font_size) {
  const auto letters = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
  return 0.6 * font_size * static_cast<double>(letters);
}

/// At the multiples of `step` that lie between two numbers.
inline std::vector<Tick> ticks(double lowest, double highest, double step) {
  std::vector<Tick> list;
  const double slack = 1e-9;  // of a step: for what rounding leaves
  for (double n = std::ceil(lowest / step - slack); n <= highest / step + slack; ++n)
    list.push_back({n * step, label(n * step)});
  return list;
}

/// A rectangle of the picture that shows the data between two corners.
struct Plot {
  Point top_left, bottom_right;  ///< In pixels.
  Point lowest, highest;         ///< In units of the data.

  Point operator()(Point data) const {
    return {top_left.x + (data.x - lowest.x) / (highest.x - lowest.x) * (bottom_right.x - top_left.x),
            bottom_right.y - (data.y - lowest.y) / (highest.y - lowest.y) * (bottom_right.y - top_left.y)};
  }

  std::vector<Point> operator()(const std::vector<Point>& data) const {
    std::vector<Point> pixels;
    for (const Point& p : data) pixels.push_back((*this)(p));
    return pixels;
  }

  /// The frame, ticks at multiples of `step` and the names of the axes.
  void draw_axes(Svg& svg, Point step, std::string_view x_name, std::string_view y_name) const {
    draw_axes(svg, ticks(lowest.x, highest.x, step.x), ticks(lowest.y, highest.y, step.y), x_name, y_name);
  }

  void draw_axes(Svg& svg, const std::vector<Tick>& x_ticks, const std::vector<Tick>& y_ticks, std::string_view x_name,
                 std::string_view y_name) const {
    const std::string ink = R"(stroke="#444444")", number = R"(font-size="13" fill="#444444" text-anchor=)";
    const bool upright = stand_upright(x_ticks);
    svg.rectangle(top_left, bottom_right, R"(fill="none" )" + ink);
    for (const Tick& tick : x_ticks) {
      const Point at = (*this)(Point{tick.at, lowest.y}), foot{at.x + 4.5, at.y + 9};
      svg.line(at, {at.x, at.y + 5}, ink);
      if (upright)
        svg.text(foot, tick.label, number + R"("end")" + Svg::rotated(-90, foot));
      else
        svg.text({at.x, at.y + 20}, tick.label, number + R"("middle")");
    }
    for (const Tick& tick : y_ticks) {
      const Point at = (*this)(Point{lowest.x, tick.at});
      svg.line(at, {at.x - 5, at.y}, ink);
      svg.text({at.x - 9, at.y + 4.5}, tick.label, number + R"("end")");
    }
    const std::string name = R"(font-size="15" fill="#222222" text-anchor="middle")";
    svg.text({(top_left.x + bottom_right.x) / 2, bottom_right.y + depth_below(x_ticks)}, x_name, name);
    const Point at{top_left.x - width_beside(y_ticks), (top_left.y + bottom_right.y) / 2};
    svg.text(at, y_name, name + Svg::rotated(-90, at));
  }

  /// From the plot to the base line of the x axis' name, in pixels.
  double depth_below(const std::vector<Tick>& x_ticks) const {
    return stand_upright(x_ticks) ? 32 + widest(x_ticks) : 44;
  }

  /// The same of the y axis' name.
  static double width_beside(const std::vector<Tick>& y_ticks) { return (std::max)(54.0, 20 + widest(y_ticks)); }

 private:
  static double widest(const std::vector<Tick>& list) {
    double width = 0;
    for (const Tick& tick : list) width = (std::max)(width, text_width(tick.label, 13));
    return width;
  }

  /// Labels that would run into each other are turned.
  bool stand_upright(const std::vector<Tick>& x_ticks) const {
    if (x_ticks.size() < 2) return false;
    const double spacing = (*this)(Point{x_ticks[1].at, 0}).x - (*this)(Point{x_ticks[0].at, 0}).x;
    return widest(x_ticks) > spacing;
  }
};

}  // namespace example
