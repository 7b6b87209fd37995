// A chart of lines with logarithmic axes, as an SVG file.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <sstream>
#include <string>
#include <vector>

#include "../../examples/support/plain.hpp"
#include "../../examples/support/svg.hpp"

namespace bench {

struct Line {
  std::string name;
  std::vector<example::Point> points;
};

class Chart {
 public:
  Chart(std::string title, std::string x_name, std::string y_name)
      : title_(std::move(title)), x_name_(std::move(x_name)), y_name_(std::move(y_name)) {}

  /// The first line is drawn bold. Throws std::runtime_error if the file cannot be written.
  void save(const std::string& path, const std::vector<Line>& lines) {
    fit(lines);
    example::Svg svg(820, 440);
    svg.text({40, 26}, title_, R"(font-size="15" fill="#222222")");
    draw_grid(svg, lines);
    for (std::size_t i = lines.size(); i-- > 0;) draw(svg, lines[i], i);
    svg.save(path);
  }

 private:
  static example::Point logarithm(example::Point p) { return {std::log10(p.x), std::log10(p.y)}; }

  static std::string label(double value) {
    std::ostringstream text = example::plain(std::ostringstream());
    text << value;
    return text.str();
  }

  void fit(const std::vector<Line>& lines) {
    plot_.lowest = {1e300, 1e300};
    plot_.highest = {-1e300, -1e300};
    for (const Line& line : lines)
      for (const example::Point& point : line.points) {
        const example::Point p = logarithm(point);
        plot_.lowest = {(std::min)(plot_.lowest.x, p.x), (std::min)(plot_.lowest.y, p.y)};
        plot_.highest = {(std::max)(plot_.highest.x, p.x), (std::max)(plot_.highest.y, p.y)};
      }
    plot_.lowest.y -= 0.1;
    plot_.highest.y += 0.1;
  }

  /// A tick at each point of the first line; upwards at 1, 2, 5, 10, ...
  void draw_grid(example::Svg& svg, const std::vector<Line>& lines) const {
    const std::string grid = R"(stroke="#dddddd")", number = R"(font-size="12" fill="#444444" text-anchor=)";
    for (const example::Point& point : lines.front().points) {
      const double x = plot_(logarithm(point)).x;
      svg.line({x, plot_.top_left.y}, {x, plot_.bottom_right.y}, grid);
      svg.text({x, plot_.bottom_right.y + 18}, label(point.x), number + R"("middle")");
    }
    for (double decade = std::pow(10, std::floor(plot_.lowest.y)); decade < std::pow(10, plot_.highest.y); decade *= 10)
      for (const double value : {decade, 2 * decade, 5 * decade}) {
        if (std::log10(value) < plot_.lowest.y || std::log10(value) > plot_.highest.y) continue;
        const double y = plot_({plot_.lowest.x, std::log10(value)}).y;
        svg.line({plot_.top_left.x, y}, {plot_.bottom_right.x, y}, grid);
        svg.text({plot_.top_left.x - 8, y + 4}, label(value), number + R"("end")");
      }
    svg.rectangle(plot_.top_left, plot_.bottom_right, R"(fill="none" stroke="#444444")");
    const std::string name = R"(font-size="14" fill="#222222")";
    svg.text({plot_.top_left.x, plot_.bottom_right.y + 40}, x_name_, name);
    svg.text({plot_.top_left.x, plot_.top_left.y - 8}, y_name_, name);
  }

  void draw(example::Svg& svg, const Line& line, std::size_t i) const {
    static const std::vector<std::string> colours{"#000000", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"};
    const std::string& colour = colours[i % colours.size()];
    const std::string stroke = "stroke=\"" + colour + "\" stroke-width=\"" + (i == 0 ? "3" : "1.5") + '"';
    std::vector<example::Point> pixels;
    for (const example::Point& point : line.points) pixels.push_back(plot_(logarithm(point)));
    svg.polyline(pixels, stroke);
    for (const example::Point& p : pixels) svg.circle(p, i == 0 ? 4 : 3, "fill=\"" + colour + '"');
    const double y = plot_.top_left.y + 14 + 20 * static_cast<double>(i), x = plot_.bottom_right.x + 14;
    svg.line({x, y}, {x + 22, y}, stroke);
    svg.text({x + 28, y + 4}, line.name, R"(font-size="13" fill="#222222")");
  }

  std::string title_, x_name_, y_name_;
  example::Plot plot_{{64, 60}, {580, 380}, {0, 0}, {1, 1}};
};

}  // namespace bench
