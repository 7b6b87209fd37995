// What came out: a table, and a picture of bars.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "../support/chart.hpp"
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
  example::BarChart chart{.title = "New texts arrive: how old and new ones are told, by the way to go on",
                          .subtitle = "held-out text; old: what the first experts were trained on",
                          .x_name = "old texts on the left, new ones on the right",
                          .y_name = "bits per byte",
                          .digits = 1};
  for (const Domain& domain : texts.domains) chart.groups.emplace_back(domain.name);
  for (const Result& result : results) chart.series.push_back({result.name, {}});
  for (std::size_t r = 0; r < results.size(); ++r)
    chart.series[r].values.assign(results[r].bits.begin(), results[r].bits.end());
  chart.draw().save(path);
}

}  // namespace grow
