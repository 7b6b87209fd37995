#include "support/table.hpp"

#include <sstream>
#include <stdexcept>

#include "file_text.hpp"
#include "gtest/gtest.h"

namespace table_test {

using example::Table;

TEST(Table, QuotesWhereAFileNeedsIt) {
  Table table({"name", "bits per byte"});
  table.row({"8 experts, top 2", "1.5"});
  table.row({"a \"dense\" layer", ""});
  table.row({"two\nlines", "2"});
  const std::string path = test::scratch_path("table.csv");
  table.save_csv(path);
  EXPECT_EQ(test::text_of(path),
            "name,bits per byte\n\"8 experts, top 2\",1.5\n\"a \"\"dense\"\" layer\",\n\"two\nlines\",2\n");
  EXPECT_THROW(table.save_csv(test::scratch_path("no_such_folder/table.csv")), std::runtime_error);
}

TEST(Table, PrintsColumns) {
  Table table({"name", "bits"});
  table.row({"dense", example::fixed(1.256, 2)});
  std::ostringstream out;
  out << table;
  EXPECT_EQ(out.str(), "name   bits\n-----------\ndense  1.26\n");
}

}  // namespace table_test
