#include "support/plain.hpp"

#include <string>
#include <vector>

#include "file_text.hpp"
#include "gtest/gtest.h"
#include "support/chart.hpp"
#include "support/csv.hpp"
#include "support/german_locale.hpp"
#include "support/svg.hpp"
#include "support/table.hpp"

namespace plain_test {

/// What each of the writers makes of the same numbers.
std::vector<std::string> written() {
  std::vector<std::string> all{example::fixed(12345.678, 2), example::label(0.25), example::label(1e6)};

  const std::string csv = test::scratch_path("plain.csv");
  example::CsvWriter writer(csv);
  writer.row("count", "share");
  writer.row(12345, 0.5);
  writer.close();
  all.push_back(test::text_of(csv));
  const example::CsvTable table(csv);
  all.push_back(example::fixed(table.number(0, "count") + table.number(0, "share"), 1));

  example::LineChart lines{.title = "lines", .series = {{"one", {{1000, 0.25}, {2500, 0.75}}}}};
  all.push_back(test::saved(lines.draw(), "lines.svg"));
  example::BarChart bars{.title = "bars", .groups = {"a"}, .series = {{"one", {1234.5}}}};
  all.push_back(test::saved(bars.draw(), "bars.svg"));
  example::HeatMap map{
      .title = "map", .rows = {"a"}, .columns = {"b", "c"}, .values = moe::Matrix<double>{{0.5, 2000}}};
  all.push_back(test::saved(map.draw(), "map.svg"));

  const example::LineChart measured{.log2_x = true, .log_y = true, .series = {{"moe", {{1024, 0.5}, {4096, 2500}}}}};
  all.push_back(test::saved(measured.draw(), "measured.svg"));
  return all;
}

TEST(Plain, NumbersLookTheSameInEveryLocale) {
  const auto plain = written();
  EXPECT_EQ(plain[0], "12345.68");
  EXPECT_EQ(plain[3], "count,share\n12345,0.5\n");
  EXPECT_EQ(plain[4], "12345.5");
  const support::GermanLocale german;
  std::ostringstream out;
  out << 12345.5;
  ASSERT_EQ(out.str(), "12.345,5");
  const auto in_german = written();
  ASSERT_EQ(in_german.size(), plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(in_german[i], plain[i]) << i;
}

}  // namespace plain_test
