// Four kinds of text as numbers: what comes next is told from the bytes before it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"

namespace grow {

using moe::Index;

using Matrix = moe::Matrix<float>;

inline constexpr Index context_length = 8;  ///< Bytes that are seen one by one.
inline constexpr Index window = 64;         ///< Bytes that are seen as a profile: which letters there were.
inline constexpr Index profile_width = 48;

/// Codes of bytes, and the profile of the window before each.
struct Text {
  std::vector<Index> codes;
  Matrix profile_NQ;

  Index size() const { return static_cast<Index>(codes.size()); }
};

struct Domain {
  std::string_view name, file;
  bool is_new;           ///< Arrives after the first training.
  Text train, held_out;  ///< The last tenth is held out.
};

/// The sum of fixed random vectors, one for each byte of the window, of variance 1 in every entry.
inline Text profiled(std::vector<Index> codes, const Matrix& vector_of_code_VQ) {
  const float scale = 1 / std::sqrt(static_cast<float>(window));
  Text text{std::move(codes), Matrix::Zero(0, 0)};
  text.profile_NQ.setZero(text.size() + 1, profile_width);
  for (Index i = 0; i < text.size(); ++i) {
    const auto vector = [&](Index at) {
      return scale * vector_of_code_VQ.row(text.codes[static_cast<std::size_t>(at)]);
    };
    text.profile_NQ.row(i + 1) = text.profile_NQ.row(i) + vector(i);
    if (i >= window) text.profile_NQ.row(i + 1) -= vector(i - window);
  }
  return text;
}

struct Texts {
  std::vector<Domain> domains{{"English novel (Emma)", "emma.txt", false, {}, {}},
                              {"English Bible (Genesis)", "genesis.txt", false, {}, {}},
                              {"Spanish Bible (Matthew)", "mateo.txt", true, {}, {}},
                              {"C code (SQLite)", "sqlite.txt", true, {}, {}}};
  Index codes = 0;  ///< Different bytes in all of them.

  std::vector<const Domain*> of(bool is_new) const {
    std::vector<const Domain*> list;
    for (const Domain& domain : domains)
      if (domain.is_new == is_new) list.push_back(&domain);
    return list;
  }
};

/// The whole lines among the first 64000 bytes of a file. Throws std::runtime_error if it cannot be read.
inline std::string beginning_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(64000, '\0');
  if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
    throw std::runtime_error("cannot read the first " + std::to_string(bytes.size()) + " bytes of " + path);
  bytes.resize(bytes.rfind('\n') + 1);
  return bytes;
}

/// Throws std::runtime_error if a file cannot be read.
inline Texts read_texts(const std::string& folder) {
  Texts texts;
  std::array<Index, 256> code_of;
  code_of.fill(-1);
  std::vector<std::vector<Index>> all;
  for (const Domain& domain : texts.domains) {
    const std::string bytes = beginning_of(folder + "/" + std::string(domain.file));
    std::vector<Index> codes;
    for (const char byte : bytes) {
      Index& code = code_of[static_cast<unsigned char>(byte)];
      if (code < 0) code = texts.codes++;
      codes.push_back(code);
    }
    all.push_back(std::move(codes));
  }
  moe::Random random(1);
  const Matrix vector_of_code_VQ = moe::random_matrix<float>(texts.codes, profile_width, random);
  for (std::size_t d = 0; d < all.size(); ++d) {
    const auto cut = all[d].begin() + static_cast<std::ptrdiff_t>(all[d].size() * 9 / 10);
    texts.domains[d].train = profiled({all[d].begin(), cut}, vector_of_code_VQ);
    texts.domains[d].held_out = profiled({cut, all[d].end()}, vector_of_code_VQ);
  }
  return texts;
}

/// Bytes to be told, each with what is seen of those before it.
struct Sample {
  Eigen::Matrix<Index, Eigen::Dynamic, context_length, Eigen::RowMajor> context_TC;
  Matrix profile_TQ;
  std::vector<Index> next;

  explicit Sample(Index tokens)
      : context_TC(tokens, context_length), profile_TQ(tokens, profile_width), next(static_cast<std::size_t>(tokens)) {}

  Index tokens() const { return context_TC.rows(); }

  /// Token t is the byte at a position of window or more.
  void set(Index t, const Text& text, Index position) {
    const auto code = [&](Index at) { return text.codes[static_cast<std::size_t>(at)]; };
    for (Index c = 0; c < context_length; ++c) context_TC(t, c) = code(position - 1 - c);
    profile_TQ.row(t) = text.profile_NQ.row(position);
    next[static_cast<std::size_t>(t)] = code(position);
  }

  /// Tokens first ... last - 1 from places drawn in a domain drawn for each.
  void draw(const std::vector<const Domain*>& domains, Index first, Index last, moe::Random& random) {
    for (Index t = first; t < last; ++t) {
      const Text& text = domains[static_cast<std::size_t>(index_below(random, domains.size()))]->train;
      set(t, text, window + index_below(random, static_cast<std::size_t>(text.size() - window)));
    }
  }

 private:
  static Index index_below(moe::Random& random, std::size_t count) {
    return static_cast<Index>(random.uniform() * static_cast<double>(count));
  }
};

inline Sample all_of(const Text& text) {
  Sample sample(text.size() - window);
  for (Index t = 0; t < sample.tokens(); ++t) sample.set(t, text, window + t);
  return sample;
}

}  // namespace grow
