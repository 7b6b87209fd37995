// The vowels of Peterson and Barney (1952), cut as Jacobs, Jordan, Nowlan and Hinton (1991) did.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../support/csv.hpp"
#include "moe/core/core.hpp"

namespace vowels {

using Matrix = moe::Matrix<double>;
using Vector = moe::Vector<double>;

struct Vowel {
  std::string_view code, phonetic, word;
};

inline constexpr std::array<Vowel, 4> classes{
    {{"iy", "[i]", "heed"}, {"ih", "[ɪ]", "hid"}, {"aa", "[ɑ]", "hod"}, {"ah", "[ʌ]", "hud"}}};

/// Spoken vowels, one a row.
struct Set {
  Matrix formants_TD;            ///< F1 and F2 in kHz.
  Matrix target_TO;              ///< 1 for the vowel that was spoken, 0 for the other three.
  std::vector<moe::Index> kind;  ///< T: index into `classes`.
};

struct Data {
  Set train, test;
};

/// Two utterances of each of the four vowels by speakers first ... last.
inline Set read_speakers(const example::CsvTable& table, double first, double last) {
  std::vector<std::array<double, 2>> formants;
  Set set;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const double speaker = table.number(row, "speaker");
    if (speaker < first || speaker > last) continue;
    for (std::size_t kind = 0; kind < classes.size(); ++kind)
      if (table.text(row, "vowel") == classes[kind].code) {
        formants.push_back({table.number(row, "F1") / 1000, table.number(row, "F2") / 1000});
        set.kind.push_back(static_cast<moe::Index>(kind));
      }
  }
  const auto tokens = static_cast<moe::Index>(formants.size());
  set.formants_TD.resize(tokens, 2);
  set.target_TO.setZero(tokens, static_cast<moe::Index>(classes.size()));
  for (moe::Index t = 0; t < tokens; ++t) {
    const auto at = static_cast<std::size_t>(t);
    set.formants_TD.row(t) << formants[at][0], formants[at][1];
    set.target_TO(t, set.kind[at]) = 1;
  }
  return set;
}

/// The first 50 speakers to learn from and the 25 after them to be tested on: 400 and 200 vowels. The table has one
/// speaker more than the paper counts; the last one is left out.
inline Data read_data(const std::string& path) {
  const example::CsvTable table(path);
  Data data{read_speakers(table, 1, 50), read_speakers(table, 51, 75)};
  if (data.train.kind.size() != 400 || data.test.kind.size() != 200)
    throw std::runtime_error(path + ": " + std::to_string(data.train.kind.size()) + " and " +
                             std::to_string(data.test.kind.size()) + " vowels, there must be 400 and 200");
  return data;
}

}  // namespace vowels
