// What a fuzzer's bytes say.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"

namespace fuzz {

using moe::Index;

/// Numbers read from bytes, one after the other; zeros when they are used up.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : next_(data), end_(data + size) {}

  std::uint8_t byte() { return next_ == end_ ? std::uint8_t{0} : *next_++; }
  bool flag() { return (byte() & 1) != 0; }

  /// 0 .. count - 1.
  Index index(Index count) { return byte() % count; }

  /// The same as a number.
  double whole(Index count) { return static_cast<double>(index(count)); }

  /// One of an enumeration's first `count`.
  template <class E>
  E one_of(int count) {
    return static_cast<E>(byte() % count);
  }

  /// From -2 to 2.
  double number() { return (byte() - 128) / 64.0; }

  /// The same, or what no number should be.
  double wild_number() {
    const std::uint8_t at = byte();
    constexpr double infinity = std::numeric_limits<double>::infinity();
    constexpr double wild[] = {infinity, -infinity, std::numeric_limits<double>::quiet_NaN(), 1e300, -1e300, 1e-310};
    return at < 250 ? (at - 125) / 64.0 : wild[at - 250];
  }

  std::size_t left() const { return static_cast<std::size_t>(end_ - next_); }
  const std::uint8_t* rest() const { return next_; }

 private:
  const std::uint8_t *next_, *end_;
};

/// What the present case is, for whoever reads the report of a fault.
inline std::string& about() {
  static std::string text;
  return text;
}

/// A fault of the library's: the fuzzer keeps the input.
inline void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %s: %s\n", what, about().c_str());
  std::abort();
}

/// To the bit, but for the kind of a NaN.
inline bool same(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b); }

template <class A, class B>
bool same_entries(const A& a, const B& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.cols(); ++j)
      if (!same(static_cast<double>(a(i, j)), static_cast<double>(b(i, j)))) return false;
  return true;
}

/// All that a file keeps of a model, one number after the other.
template <class Model>
std::vector<double> state_of(const Model& model) {
  std::vector<double> all;
  const auto append = [&](std::string_view, const auto& values) {
    for (Index i = 0; i < values.rows(); ++i)
      for (Index j = 0; j < values.cols(); ++j) all.push_back(static_cast<double>(values(i, j)));
  };
  moe::for_each_parameter(append, model);
  moe::for_each_buffer(append, model);
  return all;
}

inline bool same_state(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!same(a[i], b[i])) return false;
  return true;
}

/// A file in memory that has a name, gone with this.
class File {
 public:
  explicit File(const char* name) : path_("/dev/shm/moe_fuzz_" + std::to_string(id()) + "_" + name) {}
  ~File() { std::remove(path_.c_str()); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  void write(const std::uint8_t* data, std::size_t size) const {
    std::FILE* out = std::fopen(path_.c_str(), "wb");
    expect(out != nullptr && std::fwrite(data, 1, size, out) == size && std::fclose(out) == 0, "no room for a file");
  }
  std::string read() const {
    std::string text;
    std::FILE* in = std::fopen(path_.c_str(), "rb");
    expect(in != nullptr, "the file is not there");
    for (int c = std::fgetc(in); c != EOF; c = std::fgetc(in)) text += static_cast<char>(c);
    std::fclose(in);
    return text;
  }

 private:
  static std::uint64_t id() {
    static const std::uint64_t own = std::random_device{}();
    return own;
  }
  std::string path_;
};

}  // namespace fuzz
