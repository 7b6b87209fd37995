// Pictures as SVG files: shapes in pixels, and a plot that maps data to them.
#pragma once

#include <cmath>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

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

  std::ostringstream out_;
};

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
    const std::string ink = R"(stroke="#444444")", number = R"(font-size="13" fill="#444444" text-anchor=)";
    svg.rectangle(top_left, bottom_right, R"(fill="none" )" + ink);
    for (double x = std::ceil(lowest.x / step.x) * step.x; x <= highest.x; x += step.x) {
      const Point at = (*this)(Point{x, lowest.y});
      svg.line(at, {at.x, at.y + 5}, ink);
      svg.text({at.x, at.y + 20}, label(x), number + R"("middle")");
    }
    for (double y = std::ceil(lowest.y / step.y) * step.y; y <= highest.y; y += step.y) {
      const Point at = (*this)(Point{lowest.x, y});
      svg.line(at, {at.x - 5, at.y}, ink);
      svg.text({at.x - 9, at.y + 4.5}, label(y), number + R"("end")");
    }
    const std::string name = R"(font-size="15" fill="#222222" text-anchor="middle")";
    svg.text({(top_left.x + bottom_right.x) / 2, bottom_right.y + 44}, x_name, name);
    const double y = (top_left.y + bottom_right.y) / 2, x = top_left.x - 54;
    svg.text({x, y}, y_name, name + " transform=\"rotate(-90 " + label(x) + ' ' + label(y) + ")\"");
  }

 private:
  static std::string label(double value) {
    std::ostringstream text;
    text << value;
    return text.str();
  }
};

}  // namespace example
