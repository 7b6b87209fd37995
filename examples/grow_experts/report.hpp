// What came out: a table, and a picture of bars.
#pragma once

#include <array>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "../support/svg.hpp"
#include "../support/table.hpp"
#include "text.hpp"
#include "training.hpp"

namespace grow {

inline void print(std::ostream& out, const std::vector<Result>& results, const Texts& texts) {
  using example::fixed;
  std::vector<std::string> head{"bits per byte of held-out text", "trained"};
  for (const Domain& domain : texts.domains)
    head.push_back(std::string(domain.file.substr(0, domain.file.find('.'))) + (domain.is_new ? " (new)" : " (old)"));
  example::Table table(head);
  for (const Result& result : results) {
    std::vector<std::string> bits{result.name, std::to_string(result.trained_parameters)}, shares{"", "newcomers'"};
    bool any = false;
    for (std::size_t d = 0; d < result.bits.size(); ++d) {
      bits.push_back(fixed(result.bits[d], 2));
      shares.push_back(fixed(100 * result.newcomers_share[d]) + " %");
      any = any || result.newcomers_share[d] > 0;
    }
    table.row(bits);
    if (any) table.row(shares);
  }
  out << table << "\nnewcomers': the weight that the gate gives to the four experts added later\n";
}

/// A group of bars for each domain, one for each result.
inline void draw(const std::vector<Result>& results, const Texts& texts, const std::string& path) {
  using example::Point;
  constexpr std::array<std::string_view, 6> colors{"#9a9a9a", "#dfb87a", "#2b6a9c", "#c43c1b", "#e58a6a", "#47803a"};
  const std::string ink = R"(font-size="14" fill="#222222")";
  example::Svg svg(1000, 640);
  svg.text({86, 40}, "New texts arrive: bits per byte of held-out text, old and new, by the way to go on",
           R"(font-size="20" fill="#111111")");
  const example::Plot plot{{86, 150}, {970, 570}, {0, 0}, {4, 8}};
  for (int bits = 2; bits <= 8; bits += 2) {
    const Point left = plot(Point{0, static_cast<double>(bits)});
    svg.line(left, {plot.bottom_right.x, left.y}, R"(stroke="#dddddd")");
    svg.text({left.x - 8, left.y + 5}, std::to_string(bits) + (bits == 8 ? " bits" : ""),
             R"(font-size="13" fill="#444444" text-anchor="end")");
  }
  const double bar = 0.8 / static_cast<double>(results.size());
  for (std::size_t d = 0; d < texts.domains.size(); ++d) {
    const double left = static_cast<double>(d) + 0.1;
    for (std::size_t r = 0; r < results.size(); ++r) {
      const Point corner = plot(Point{left + static_cast<double>(r) * bar, results[r].bits[d]});
      const Point foot = plot(Point{left + (static_cast<double>(r) + 0.92) * bar, 0});
      svg.rectangle(corner, foot, "fill=\"" + std::string(colors.at(r)) + '"');
      svg.text({(corner.x + foot.x) / 2, corner.y - 4}, example::fixed(results[r].bits[d], 1),
               R"(font-size="11" fill="#444444" text-anchor="middle")");
    }
    svg.text(plot(Point{left + 0.4, -0.45}), texts.domains[d].name, ink + R"( text-anchor="middle")");
    svg.text(plot(Point{left + 0.4, -0.85}), texts.domains[d].is_new ? "new" : "old",
             R"(font-size="13" fill="#777777" text-anchor="middle")");
  }
  for (std::size_t r = 0; r < results.size(); ++r) {
    const Point at{86.0 + 445.0 * static_cast<double>(r / 3), 66.0 + 24.0 * static_cast<double>(r % 3)};
    svg.rectangle(at, {at.x + 14, at.y + 14}, "fill=\"" + std::string(colors.at(r)) + '"');
    svg.text({at.x + 22, at.y + 12}, results[r].name, ink);
  }
  svg.line(plot(Point{0, 0}), plot(Point{4, 0}), R"(stroke="#444444")");
  svg.save(path);
}

}  // namespace grow
