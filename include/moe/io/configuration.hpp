// The settings of a checkpoint: config.json, or the keys of a GGUF file.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/io/file_error.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// Settings by name. A name may contain dots, as GGUF's do ("qwen3moe.expert_count"); otherwise a dot goes into an
/// object ("text_config.hidden_size").
class Configuration {
 public:
  Configuration() : values_(nlohmann::json::object()) {}
  /// `values` is an object, `source` the file that errors name.
  Configuration(std::string source, nlohmann::json values) : source_(std::move(source)), values_(std::move(values)) {}

  // Of a temporary these would be gone before they are read.
  const std::string& source() const& { return source_; }
  const nlohmann::json& values() const& { return values_; }

  /// The value of that name; nullptr if there is none or it is null.
  const nlohmann::json* find(std::string_view name) const& {
    const nlohmann::json* at = child(values_, name);
    for (const nlohmann::json* object = &values_; at == nullptr && object != nullptr;) {
      const std::size_t dot = name.find('.');
      at = dot == name.npos ? child(*object, name) : nullptr;
      object = dot == name.npos ? nullptr : child(*object, name.substr(0, dot));
      name.remove_prefix(dot == name.npos ? name.size() : dot + 1);
    }
    return at == nullptr || at->is_null() ? nullptr : at;
  }

  /// The value as bool, an integer, a floating-point number, a std::string, or a std::vector of one of these; nothing
  /// if there is none or it is null. Throws FileError if it is something else, or an integer that T does not hold.
  template <class T>
  std::optional<T> get(std::string_view name) const {
    const nlohmann::json* const value = find(name);
    if (value == nullptr) return std::nullopt;
    return converted<T>(*value, name);
  }

  /// The same of a setting that must be there.
  template <class T>
  T require(std::string_view name) const {
    auto value = get<T>(name);
    if (!value) moe::detail::fail_io(source_, ": no setting ", moe::detail::in_quotes(name));
    return *std::move(value);
  }

 private:
  template <class T>
  struct IsVector : std::false_type {};
  template <class T>
  struct IsVector<std::vector<T>> : std::true_type {};

  static const nlohmann::json* child(const nlohmann::json& object, std::string_view name) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
  }

  template <class T>
  T converted(const nlohmann::json& value, std::string_view name) const {
    if constexpr (IsVector<T>::value) {
      T items;
      if (!value.is_array()) fail(value, name, "an array");
      for (const nlohmann::json& item : value) items.push_back(converted<typename T::value_type>(item, name));
      return items;
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!value.is_boolean()) fail(value, name, "true or false");
      return value.get<bool>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!value.is_string()) fail(value, name, "a text");
      return value.get<std::string>();
    } else if constexpr (std::integral<T>) {
      const bool holds = value.is_number_unsigned()
                             ? std::in_range<T>(value.get<std::uint64_t>())
                             : value.is_number_integer() && std::in_range<T>(value.get<std::int64_t>());
      if (!holds) fail(value, name, "an integer in range");
      return value.get<T>();
    } else {
      static_assert(std::floating_point<T>,
                    "a setting is bool, an integer, floating point, text, or a vector of these");
      if (!value.is_number()) fail(value, name, "a number");
      return value.get<T>();
    }
  }

  [[noreturn]] void fail(const nlohmann::json& value, std::string_view name, std::string_view expected) const {
    const std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    moe::detail::fail_io(source_, ": setting ", moe::detail::in_quotes(name), " is ", moe::detail::in_quotes(text),
                         ", not ", expected);
  }

  std::string source_;
  nlohmann::json values_;
};

}  // namespace io

MOE_NAMESPACE_END
