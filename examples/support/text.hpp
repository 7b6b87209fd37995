// Text as numbers, one for each different byte.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <numbers>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "language_model.hpp"
#include "moe/core/random.hpp"

namespace example {

using Codes = std::vector<std::int64_t>;

/// Numbers the bytes that it meets: 0, 1, 2, ...
class Alphabet {
 public:
  Alphabet() { code_of_.fill(-1); }

  Index size() const { return static_cast<Index>(bytes_.size()); }
  char byte(std::int64_t code) const { return bytes_.at(static_cast<std::size_t>(code)); }

  Codes encode(std::string_view text) {
    Codes codes;
    for (const char byte : text) {
      std::int64_t& code = code_of_[static_cast<unsigned char>(byte)];
      if (code < 0) {
        code = size();
        bytes_ += byte;
      }
      codes.push_back(code);
    }
    return codes;
  }

 private:
  std::array<std::int64_t, 256> code_of_;
  std::string bytes_;
};

/// Throws std::runtime_error if the file cannot be read or has less than 1000 bytes.
inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (text.size() < 1000) throw std::runtime_error("cannot read " + path + ", or it has less than 1000 bytes");
  return text;
}

/// The first nine tenths to learn from, the rest to be tested on.
struct Text {
  Codes train, held_out;

  explicit Text(const Codes& codes)
      : train(codes.begin(), codes.begin() + static_cast<std::ptrdiff_t>(codes.size() * 9 / 10)),
        held_out(codes.begin() + static_cast<std::ptrdiff_t>(train.size()), codes.end()) {}
};

/// The sequence number `s` of a batch: `length` codes from `begin` on, and what comes after each.
inline void set_sequence(TextBatch& batch, Index s, std::span<const std::int64_t> codes, Index begin) {
  const auto from = codes.begin() + begin;
  std::copy_n(from, batch.length, batch.codes.begin() + s * batch.length);
  std::copy_n(from + 1, batch.length, batch.next.begin() + s * batch.length);
}

inline TextBatch empty_batch(Index sequences, Index length) {
  const auto tokens = static_cast<std::size_t>(sequences * length);
  return {length, Codes(tokens), Codes(tokens)};
}

/// Throws std::invalid_argument unless the text has a sequence of that length and what comes after it.
inline void require_sequence(std::span<const std::int64_t> codes, Index length) {
  moe::require(length > 0 && length < static_cast<Index>(codes.size()), "a text of ", codes.size(),
               " bytes has no sequence of ", length, " with what comes after it");
}

/// Sequences from places drawn at random.
inline TextBatch draw_batch(std::span<const std::int64_t> codes, Index sequences, Index length, moe::Random& random) {
  require_sequence(codes, length);
  TextBatch batch = empty_batch(sequences, length);
  const auto places = static_cast<double>(static_cast<Index>(codes.size()) - length);
  for (Index s = 0; s < sequences; ++s) set_sequence(batch, s, codes, static_cast<Index>(random.uniform() * places));
  return batch;
}

/// Bits that each byte of the text but the first one costs, told from at least half a sequence, if as much is before
/// it.
template <class Model>
double bits_per_byte(const Model& model, std::span<const std::int64_t> codes, Index length) {
  require_sequence(codes, length);
  constexpr Index sequences = 32;  // at once
  double bits = 0;
  Index told = 0;
  auto tape = model.tape();
  const Index last = static_cast<Index>(codes.size()) - 1 - length;
  std::vector<Index> begins{0};
  while (begins.back() < last) begins.push_back((std::min)(begins.back() + length - length / 2, last));
  for (std::size_t first = 0; first < begins.size(); first += static_cast<std::size_t>(sequences)) {
    const Index count = (std::min)(sequences, static_cast<Index>(begins.size() - first));
    TextBatch batch = empty_batch(count, length);
    for (Index s = 0; s < count; ++s) set_sequence(batch, s, codes, begins[first + static_cast<std::size_t>(s)]);
    model.forward(batch, tape);
    for (Index t = 0; t < batch.tokens(); ++t) {
      if (begins[first + static_cast<std::size_t>(t / length)] + t % length < told) continue;
      bits -= static_cast<double>(tape.logits_TV(t, batch.next[static_cast<std::size_t>(t)])) / std::numbers::ln2;
      ++told;
    }
  }
  return bits / static_cast<double>(told);
}

}  // namespace example
