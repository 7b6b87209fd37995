// What counting reaches in telling the next byte: n-grams interpolated after Witten and Bell (1991), to compare a
// trained model with.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace example {

/// P_k(byte | the k bytes before) = (count of both + D P_{k-1}(byte)) / (count of those before + D), where D different
/// bytes have followed them in training; P_{-1} = 1/256. Contexts that were never seen leave it at what P_{k-1} says.
class NGram {
 public:
  /// `order` bytes of context, 0 to 7; codes are 0 to 255. Throws std::invalid_argument for others.
  NGram(int order, const std::vector<std::int64_t>& codes) {
    if (order < 0 || order > 7) throw std::invalid_argument("an n-gram of order " + std::to_string(order));
    levels_.resize(static_cast<std::size_t>(order) + 1);
    History history;
    for (const std::int64_t code : codes) {
      history.append(code);
      for (std::size_t k = 0; k < levels_.size() && k < history.length; ++k) levels_[k].count(history.last(k + 1));
    }
  }

  /// Of a text that is told from its beginning, of which nothing is known.
  double bits_per_byte(const std::vector<std::int64_t>& codes) const {
    double bits = 0;
    History history;
    for (const std::int64_t code : codes) {
      history.append(code);
      double probability = 1.0 / 256;
      for (std::size_t k = 0; k < levels_.size() && k < history.length; ++k)
        if (!levels_[k].refine(probability, history.last(k + 1))) break;
      bits -= std::log2(probability);
    }
    return bits / static_cast<double>(codes.size());
  }

 private:
  struct History {
    std::uint64_t bytes = 0;  ///< The eight before, the last one lowest.
    std::size_t length = 0;
    void append(std::int64_t code) {
      if (code < 0 || code > 255) throw std::invalid_argument("not the code of a byte: " + std::to_string(code));
      bytes = bytes << 8 | static_cast<std::uint64_t>(code);
      ++length;
    }

    std::uint64_t last(std::size_t count) const { return bytes & ~std::uint64_t{0} >> (64 - 8 * count); }
  };

  /// The n-grams of one length.
  struct Level {
    struct Context {
      double seen = 0, different = 0;
    };
    std::unordered_map<std::uint64_t, double> grams;
    std::unordered_map<std::uint64_t, Context> contexts;
    void count(std::uint64_t gram) {
      double& times = grams[gram];
      Context& context = contexts[gram >> 8];
      if (times == 0) ++context.different;
      ++times;
      ++context.seen;
    }

    /// False if the context is unknown; longer ones are then, too.
    bool refine(double& probability, std::uint64_t gram) const {
      const auto context = contexts.find(gram >> 8);
      if (context == contexts.end()) return false;
      const auto [seen, different] = context->second;
      const auto found = grams.find(gram);
      const double times = found == grams.end() ? 0 : found->second;
      probability = (times + different * probability) / (seen + different);
      return true;
    }
  };

  std::vector<Level> levels_;
};

}  // namespace example
