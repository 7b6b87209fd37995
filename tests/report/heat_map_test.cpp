#include "moe/report/heat_map.hpp"

#include <gtest/gtest.h>

#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace moe {
namespace heat_map_test {

struct Cell {
  double x, y, width, height, text_x, text_y;
  int red;
  std::string text;
};

/// Each coloured rectangle with the text that follows it.
std::vector<Cell> cells_of(const std::string& svg) {
  static const std::regex pattern{
      R"re(<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"[^>]*fill="rgb\((\d+),[^>]*>\s*<text x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)<)re"};
  std::vector<Cell> cells;
  for (auto found = std::sregex_iterator(svg.begin(), svg.end(), pattern); found != std::sregex_iterator(); ++found) {
    const auto number = [&](std::size_t i) { return std::stod((*found)[i]); };
    cells.push_back(
        {number(1), number(2), number(3), number(4), number(6), number(7), std::stoi((*found)[5]), (*found)[8].str()});
  }
  return cells;
}

TEST(HeatMap, CellsAreShadedAndMarkedInTheirMiddle) {
  std::ostringstream out;
  write_heat_map_svg(out, Matrix<double>{{3, 1, 0}, {0, 0, 2}}, {"a", "b"}, "");
  const std::vector<Cell> cells = cells_of(out.str());
  ASSERT_EQ(cells.size(), 6u);
  const char* percent[] = {"75", "25", "0", "0", "0", "100"};
  for (std::size_t i = 0; i < 6; ++i) {
    const Cell& cell = cells[i];
    EXPECT_EQ(cell.text.substr(0, 3), percent[i]);
    EXPECT_EQ(cell.red == 255, cell.text == "0");
    EXPECT_NEAR(cell.text_x, cell.x + cell.width / 2, 1);
    EXPECT_GT(cell.text_y, cell.y + cell.height / 2);
    EXPECT_LT(cell.text_y, cell.y + cell.height);
    EXPECT_NEAR(cell.x, cells[i % 3].x, 1e-9);      // below each other
    EXPECT_NEAR(cell.y, cells[i / 3 * 3].y, 1e-9);  // side by side
    if (i % 3 > 0) {
      EXPECT_NEAR(cell.x, cells[i - 1].x + cell.width, 1e-9);
    }
    if (i > 2) {
      EXPECT_NEAR(cell.y, cells[i - 3].y + cell.height, 1e-9);
    }
  }
  EXPECT_LT(cells[5].red, cells[0].red);
  EXPECT_LT(cells[0].red, cells[1].red);
  // The expert's number above each column.
  for (std::size_t e = 0; e < 3; ++e) {
    std::smatch match;
    const std::string svg = out.str();
    const std::regex label("<text x=\"([\\d.]+)\" y=\"([\\d.]+)\"[^>]*>" + std::to_string(e) + "<");
    ASSERT_TRUE(std::regex_search(svg, match, label));
    EXPECT_NEAR(std::stod(match[1]), cells[e].text_x, 1);
    EXPECT_LT(std::stod(match[2]), cells[e].y);
  }
}

}  // namespace heat_map_test
}  // namespace moe
