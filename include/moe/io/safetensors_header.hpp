// The header of a safetensors file: its JSON text, read strictly, and the layout of the tensors that it declares.
//
// Format: 8 bytes little-endian header length N; N bytes of UTF-8 JSON, an object; then the data. Each entry is
//   name -> {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, offsets counted from the data's begin;
// `__metadata__` maps strings to strings. The tensors cover the data completely, without holes or overlap.
//
// Where the format's text is silent, or its reference implementation is milder than the text, this reader decides so:
//   accepted   JSON whitespace before the `{`; fields of an entry that it does not know; an empty name
//   refused    a key given twice in any object, also within `__metadata__`; null for `__metadata__`; an entry given as
//              an array; a NUL byte in a name; a name that is an absolute path or has a `..` component; a rank above
//              64; a product of dimensions that overflows, even before a dimension of zero
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "moe/io/safetensors_error.hpp"
#include "moe/io/tensor_info.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr std::uint64_t longest_header = 100'000'000;
inline constexpr std::size_t highest_rank = 64;
inline constexpr std::size_t deepest_nesting = 64;
inline constexpr std::string_view metadata_key = "__metadata__";

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::map<std::string, io::TensorInfo, std::less<>> tensors;
  std::vector<std::string> names;  // in the order of their bytes
};

/// Receives the events of the JSON parser and builds the header. Every array and object that is open has a level, so
/// the depth is bounded and a key given twice is seen in each of them.
class SafetensorsHeaderBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeaderBuilder(std::string_view source, SafetensorsHeader& header) : source_(source), header_(header) {}

  bool start_object(std::size_t) override {
    switch (place()) {
      case Place::document:
        return open(Place::root);
      case Place::root:
        if (name_ == metadata_key) return open(Place::metadata);
        info_ = {};
        return open(Place::info);
      default:
        return open_ignored();
    }
  }

  bool key(std::string& text) override {
    Level& level = levels_.back();
    if (level.place == Place::root) {
      name_ = text;
      if (const auto fault = fault_of_name(text))
        fail_io(source_, ": the name of tensor ", in_quotes(text), " ", *fault);
    }
    field_ = text;
    if (!level.keys.insert(text).second) fail("is given twice");
    return true;
  }

  bool end_object() override {
    const Level closed = std::move(levels_.back());
    levels_.pop_back();
    if (closed.place == Place::info) {
      for (const char* required : {"dtype", "shape", "data_offsets"})
        if (!closed.keys.count(required))
          fail_io(source_, ": tensor ", in_quotes(name_), ": no field '", required, "'");
      header_.tensors.emplace(name_, std::move(info_));
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (place() == Place::info && field_ == "shape") return open(Place::shape);
    if (place() == Place::info && field_ == "data_offsets") return open(Place::offsets);
    return open_ignored();
  }

  bool end_array() override {
    if (place() == Place::offsets && offsets_ != 2) fail("does not hold two numbers");
    offsets_ = place() == Place::offsets ? 0 : offsets_;
    levels_.pop_back();
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place() == Place::shape) {
      if (info_.shape.size() == highest_rank) fail("has more than 64 dimensions");
      info_.shape.push_back(value);
      return true;
    }
    if (place() == Place::offsets) {
      if (offsets_ == 2) fail("does not hold two numbers");
      (offsets_++ == 0 ? info_.begin : info_.end) = value;
      return true;
    }
    return ignored_value();
  }

  bool string(std::string& text) override {
    if (place() == Place::metadata) {
      header_.metadata.emplace(field_, text);
      return true;
    }
    if (place() == Place::info && field_ == "dtype") {
      const auto dtype = io::dtype_from_name(text);
      if (!dtype) fail("is unknown: ", in_quotes(text));
      info_.dtype = *dtype;
      return true;
    }
    return ignored_value();
  }

  bool null() override { return ignored_value(); }
  bool boolean(bool) override { return ignored_value(); }
  bool number_integer(number_integer_t) override { return ignored_value(); }
  bool number_float(number_float_t, const std::string&) override { return ignored_value(); }
  bool binary(binary_t&) override { return ignored_value(); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail_io(source_, ": the header is not valid JSON at byte ", position);
  }

 private:
  enum class Place { document, root, metadata, info, shape, offsets, ignored };
  struct Level {
    Place place;
    std::set<std::string> keys;
  };

  Place place() const { return levels_.empty() ? Place::document : levels_.back().place; }

  bool open(Place place) {
    if (levels_.size() == deepest_nesting) fail("is nested too deep");
    levels_.push_back({place, {}});
    return true;
  }

  bool in_unknown_field() const {
    return place() == Place::ignored ||
           (place() == Place::info && field_ != "dtype" && field_ != "shape" && field_ != "data_offsets");
  }

  bool open_ignored() { return in_unknown_field() ? open(Place::ignored) : ignored_value(); }

  // A value of a kind that has no meaning here: right only within a field that this reader does not know.
  bool ignored_value() const {
    if (!in_unknown_field()) fail("has a value of the wrong kind");
    return true;
  }

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    const bool in_metadata = name_ == metadata_key;
    if (place() == Place::document) fail_io(source_, ": the header is not a JSON object");
    if (place() == Place::root) fail_io(source_, in_metadata ? ": " : ": tensor ", in_quotes(name_), " ", parts...);
    fail_io(source_, in_metadata ? ": " : ": tensor ", in_quotes(name_), ": field ", in_quotes(field_), " ", parts...);
  }

  std::string_view source_;
  SafetensorsHeader& header_;
  std::vector<Level> levels_;
  std::string name_;   // key of the root that is open
  std::string field_;  // last key seen, at any depth
  io::TensorInfo info_;
  unsigned offsets_ = 0;
};

/// Puts the names in the order of their bytes and refuses every layout but a gapless one of data_bytes bytes.
inline void check_layout(std::string_view source, SafetensorsHeader& header, std::uint64_t data_bytes) {
  std::vector<const std::pair<const std::string, io::TensorInfo>*> order;
  order.reserve(header.tensors.size());
  for (const auto& entry : header.tensors) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::tie(a->second.begin, a->second.end, a->first) < std::tie(b->second.begin, b->second.end, b->first);
  });
  std::uint64_t covered = 0;
  for (const auto* entry : order) {
    const std::string& name = entry->first;
    const io::TensorInfo& info = entry->second;
    const std::uint64_t needed = checked_bytes(source, name, info);
    const auto refuse = [&](std::string_view reason) {
      fail_io(source, ": tensor ", in_quotes(name), ": field 'data_offsets' is [", info.begin, ", ", info.end, "], ",
              reason, " (", to_string(info), " needs ", needed, " bytes, the data has ", data_bytes, ")");
    };
    if (info.end < info.begin) refuse("which ends before it begins");
    if (info.end > data_bytes) refuse("which lies beyond the end of the file");
    if (info.begin != covered) refuse(info.begin < covered ? "which overlaps another tensor" : "which leaves a hole");
    if (info.bytes() != needed) refuse("which does not fit dtype and shape");
    covered = info.end;
    header.names.push_back(name);
  }
  if (covered != data_bytes)
    fail_io(source, ": ", data_bytes - covered, " bytes after the last tensor belong to no tensor");
}

/// Reads the header's text and checks everything in it against the size of the data that follows.
/// Throws io::SafetensorsError, its message beginning with `source`.
inline SafetensorsHeader parse_header(std::string_view source, std::string_view text, std::uint64_t data_bytes) {
  // Looked at before the parser does: it would skip a byte order mark, and take a NUL byte for the end.
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{')
    fail_io(source, ": not a safetensors file: the header does not begin with '{'");
  if (text.find('\0') != std::string_view::npos) fail_io(source, ": the header contains a NUL byte");
  SafetensorsHeader header;
  SafetensorsHeaderBuilder builder(source, header);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  check_layout(source, header, data_bytes);
  return header;
}

}  // namespace detail

MOE_NAMESPACE_END
