// From the events of the JSON parser to the header of a safetensors file, read strictly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/io/file_error.hpp"
#include "moe/io/tensor_info.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr std::size_t highest_rank = 64;
inline constexpr std::size_t deepest_nesting = 64;
inline constexpr std::string_view metadata_key = "__metadata__";

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::map<std::string, io::TensorInfo, std::less<>> tensors;
  std::vector<std::string> names;  // in the order of their bytes
  std::uint64_t data_begin = 0;    // in the file
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

}  // namespace detail

MOE_NAMESPACE_END
