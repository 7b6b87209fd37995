// A heat map as a stand-alone SVG picture: which expert takes which class of tokens.
#pragma once

#include <cmath>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline std::string escape_xml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&')
      escaped += "&amp;";
    else if (c == '<')
      escaped += "&lt;";
    else if (c == '>')
      escaped += "&gt;";
    else
      escaped += c;
  }
  return escaped;
}

}  // namespace detail

/// Rows of `count` (classes x experts) as shares of the row's sum, white (0) to blue (1), with the percentage in each
/// cell; `rows_are` names the axis of the rows. Numbers are written alike whatever the stream's locale and flags.
/// Throws std::invalid_argument if there is not one name for each row.
inline void write_heat_map_svg(std::ostream& out, const Matrix<double>& count,
                               const std::vector<std::string>& row_names, std::string_view title,
                               std::string_view rows_are = "class") {
  require(static_cast<Index>(row_names.size()) == count.rows(), "write_heat_map_svg: ", row_names.size(), " names for ",
          count.rows(), " rows");
  constexpr Index cell = 44, left = 160, top = 90;
  const Index width = left + cell * count.cols() + 20, height = top + cell * count.rows() + 40;
  std::string text;
  const auto write = [&](const auto&... parts) { (detail::append(text, parts), ...); };
  write("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", width, "\" height=\"", height,
        "\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        "<text x=\"", left, "\" y=\"24\" font-size=\"16\">", detail::escape_xml(title), "</text>\n");
  write("<text x=\"", left, "\" y=\"", top - 34, "\">expert</text>\n<text x=\"", left - 10, "\" y=\"", top - 10,
        "\" text-anchor=\"end\">", detail::escape_xml(rows_are), "</text>\n<text x=\"", left, "\" y=\"", height - 14,
        "\">% of the row</text>\n");
  for (Index e = 0; e < count.cols(); ++e)
    write("<text x=\"", left + cell * e + cell / 2, "\" y=\"", top - 10, "\" text-anchor=\"middle\">", e, "</text>\n");
  for (Index r = 0; r < count.rows(); ++r) {
    const Index y = top + cell * r;
    write("<text x=\"", left - 10, "\" y=\"", y + cell / 2 + 5, "\" text-anchor=\"end\">",
          detail::escape_xml(row_names[static_cast<std::size_t>(r)]), "</text>\n");
    const double sum = count.row(r).sum();
    for (Index e = 0; e < count.cols(); ++e) {
      const double share = sum > 0 ? count(r, e) / sum : 0;
      const auto shade = [&](double full) { return static_cast<int>(std::lround(255 + share * (full - 255))); };
      write("<rect x=\"", left + cell * e, "\" y=\"", y, "\" width=\"", cell, "\" height=\"", cell,
            "\" stroke=\"#ddd\" fill=\"rgb(", shade(8), ",", shade(81), ",", shade(156), ")\"/>\n<text x=\"",
            left + cell * e + cell / 2, "\" y=\"", y + cell / 2 + 5, "\" text-anchor=\"middle\" fill=\"",
            share > 0.5 ? "white" : "#333", "\">", std::lround(100 * share), "</text>\n");
    }
  }
  write("</svg>\n");
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

MOE_NAMESPACE_END
