// What comparisons showed: a few lines at once, tables in Markdown, and charts.
#pragma once

#include <cstddef>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "../../examples/support/chart.hpp"
#include "../../examples/support/plain.hpp"
#include "../support/rounds.hpp"
#include "cells.hpp"
#include "compare.hpp"

namespace bench {

/// What was measured of one cell.
struct Measured {
  Cell cell;
  Pass pass;
  double roofline;  ///< Seconds.
  std::vector<Outcome> outcomes;
};

inline std::string number(double value, int digits) {
  std::ostringstream text = example::plain(std::ostringstream());
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

inline std::string milliseconds(double seconds) { return number(seconds * 1e3, seconds < 0.1 ? 2 : 0); }

/// On the error stream, a line for each implementation.
inline void print_lines(const Measured& measured) {
  const auto& first = measured.outcomes.front().seconds;
  std::cerr << measured.cell.name << ", " << name_of(measured.pass) << ", roofline " << milliseconds(measured.roofline)
            << " ms\n";
  for (const Outcome& outcome : measured.outcomes) {
    const double middle = median(outcome.seconds), shortest = best(outcome.seconds);
    std::cerr << "  " << std::setw(26) << std::left << outcome.name << std::right << " median " << std::setw(7)
              << milliseconds(middle) << " ms, best " << std::setw(7) << milliseconds(shortest) << " ms, "
              << number(median_ratio(outcome.seconds, first), 2) << " (best " << number(shortest / best(first), 2)
              << ") of the first's time, " << number(100 * measured.roofline / middle, 0)
              << " % of the roofline, error " << std::scientific << std::setprecision(1) << outcome.error
              << std::defaultfloat << ", " << number(outcome.gbytes, 2) << " GB " << outcome.way << '\n';
  }
}

/// Of all cells with that pass: the implementations' times over the first's.
inline void print_table(const std::vector<Measured>& all, Pass pass) {
  std::string head = "| layer | roofline, ms | moe, ms", rule = "|---|---|---|";
  bool headed = false;
  for (const Measured& measured : all) {
    if (measured.pass != pass) continue;
    if (!headed) {
      for (std::size_t i = 1; i < measured.outcomes.size(); ++i) {
        head += " | " + measured.outcomes[i].name;
        rule += "---|";
      }
      std::cout << '\n' << head << " |\n" << rule << '\n';
      headed = true;
    }
    const auto& first = measured.outcomes.front().seconds;
    const auto share = [&](const Outcome& outcome) {
      return number(100 * measured.roofline / median(outcome.seconds), 0) + " %";
    };
    std::cout << "| " << measured.cell.name << " | " << milliseconds(measured.roofline) << " | "
              << milliseconds(median(first)) << " (" << share(measured.outcomes.front()) << ')';
    for (std::size_t i = 1; i < measured.outcomes.size(); ++i) {
      const Outcome& outcome = measured.outcomes[i];
      std::cout << " | " << number(median_ratio(outcome.seconds, first), 2) << " / "
                << number(best(outcome.seconds) / best(first), 2) << " (" << share(outcome) << ')';
    }
    std::cout << " |\n";
  }
}

/// The forward passes of the cells whose names begin and end so, by `x_of` their shape: a line for each implementation.
template <class F>
void draw(const std::vector<Measured>& all, std::string_view begin, std::string_view end, example::LineChart chart,
          const std::string& path, F&& x_of) {
  chart.subtitle = "forward; the median of each implementation's rounds";
  chart.y_name = "ms";
  chart.log2_x = chart.log_y = true;
  for (const Measured& measured : all) {
    if (measured.pass != Pass::forward || !measured.cell.name.starts_with(begin) || !measured.cell.name.ends_with(end))
      continue;
    chart.series.resize(measured.outcomes.size());
    for (std::size_t i = 0; i < chart.series.size(); ++i) {
      chart.series[i].name = measured.outcomes[i].name;
      chart.series[i].points.push_back(
          {static_cast<double>(x_of(measured.cell.shape)), 1e3 * median(measured.outcomes[i].seconds)});
    }
  }
  if (!chart.series.empty() && chart.series.front().points.size() > 1) chart.draw().save(path);
}

}  // namespace bench
