// Texts of several domains for one model: four kinds of text, or one text in sixteen languages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../support/text.hpp"

namespace specialisation {

using example::Index;

struct Corpus {
  std::string name;
  std::vector<std::string> domains = {};
  std::vector<example::Text> texts = {};  ///< One for each domain.
  example::Alphabet alphabet = {};

  Index size() const { return static_cast<Index>(domains.size()); }

  double ascii_share(Index domain) const {
    const example::Codes& codes = texts[static_cast<std::size_t>(domain)].train;
    const auto is_ascii = [&](std::int64_t code) { return static_cast<unsigned char>(alphabet.byte(code)) < 128; };
    return static_cast<double>(std::count_if(codes.begin(), codes.end(), is_ascii)) / static_cast<double>(codes.size());
  }

  void add(std::string domain, const std::string& text) {
    domains.push_back(std::move(domain));
    texts.emplace_back(alphabet.encode(text));
  }
};

inline Corpus read_domains(const std::string& folder) {
  Corpus corpus{.name = "domains"};
  const std::pair<const char*, const char*> files[] = {{"English novel", "emma.txt"},
                                                       {"English Bible", "genesis.txt"},
                                                       {"Spanish Bible", "mateo.txt"},
                                                       {"C code", "sqlite.txt"}};
  for (const auto& [domain, file] : files) corpus.add(domain, example::read_file(folder + "/domains/" + file));
  return corpus;
}

/// Lines of language, tab, paragraph after a line of column names; the paragraphs of a language follow each other.
inline Corpus read_languages(const std::string& folder) {
  Corpus corpus{.name = "languages"};
  const std::string path = folder + "/udhr16.tsv";
  std::ifstream file(path);
  std::string line, language, text;
  std::getline(file, line);
  while (std::getline(file, line)) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) throw std::runtime_error(path + ": a line without a tab");
    if (line.substr(0, tab) != language) {
      if (!text.empty()) corpus.add(language.substr(0, 3), text);
      language = line.substr(0, tab);
      text.clear();
    }
    text += line.substr(tab + 1) + '\n';
  }
  if (text.empty()) throw std::runtime_error("cannot read " + path);
  corpus.add(language.substr(0, 3), text);
  return corpus;
}

/// The domain of each token if sequence s is of domain s % domains.
inline std::vector<std::int8_t> labels(Index domains, Index sequences, Index length) {
  std::vector<std::int8_t> label_T;
  for (Index t = 0; t < sequences * length; ++t) label_T.push_back(static_cast<std::int8_t>(t / length % domains));
  return label_T;
}

/// As many sequences of each domain, one domain after the other, from places drawn at random.
inline example::TextBatch draw_mixed(const Corpus& corpus, Index sequences, Index length, moe::Random& random) {
  example::TextBatch batch = example::empty_batch(sequences, length);
  for (Index s = 0; s < sequences; ++s) {
    const example::Codes& codes = corpus.texts[static_cast<std::size_t>(s % corpus.size())].train;
    const auto places = static_cast<double>(static_cast<Index>(codes.size()) - length);
    example::set_sequence(batch, s, codes, static_cast<Index>(random.uniform() * places));
  }
  return batch;
}

/// Held-out text, in the same order: of each domain as much as the shortest has, but no more than `most` sequences.
inline example::TextBatch held_out(const Corpus& corpus, Index most, Index length) {
  Index each = most;
  for (const example::Text& text : corpus.texts)
    each = (std::min)(each, (static_cast<Index>(text.held_out.size()) - 1) / length);
  example::TextBatch batch = example::empty_batch(each * corpus.size(), length);
  for (Index s = 0; s < each * corpus.size(); ++s)
    example::set_sequence(batch, s, corpus.texts[static_cast<std::size_t>(s % corpus.size())].held_out,
                          s / corpus.size() * length);
  return batch;
}

}  // namespace specialisation
