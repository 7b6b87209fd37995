// GGUF files as bytes, for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace gguf {

/// The bytes of a number, little-endian as this machine is.
template <class T>
std::string number(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string u32(std::uint32_t value) { return number(value); }
inline std::string u64(std::uint64_t value) { return number(value); }
inline std::string text(const std::string& value) { return u64(value.size()) + value; }

/// A key with the number of its type and the bytes of its value.
inline std::string key(const std::string& name, std::uint32_t type, const std::string& value) {
  return text(name) + u32(type) + value;
}

/// A tensor's description: dimensions fastest first, as in the file.
inline std::string tensor(const std::string& name, const std::vector<std::uint64_t>& dimensions, std::uint32_t type,
                          std::uint64_t offset) {
  std::string bytes = text(name) + u32(static_cast<std::uint32_t>(dimensions.size()));
  for (const std::uint64_t dimension : dimensions) bytes += u64(dimension);
  return bytes + u32(type) + u64(offset);
}

inline std::string padded(std::string bytes, std::size_t alignment = 32) {
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
  return bytes;
}

struct File {
  std::vector<std::string> keys, tensors;
  std::string data = {};
  std::uint32_t version = 3;
  std::size_t alignment = 32;

  std::string header() const {
    std::string bytes = "GGUF" + u32(version) + u64(tensors.size()) + u64(keys.size());
    for (const auto& part : keys) bytes += part;
    for (const auto& part : tensors) bytes += part;
    return bytes;
  }
  std::string bytes() const { return (tensors.empty() ? header() : padded(header(), alignment)) + data; }
};

/// A key, and a matrix of 2 rows of 3 floats, 0 to 5.
inline File small() {
  std::string data;
  for (int i = 0; i < 6; ++i) data += number(static_cast<float>(i));
  return {.keys = {key("general.architecture", 8, text("toy"))},
          .tensors = {tensor("w", {3, 2}, 0, 0)},
          .data = padded(data)};
}

}  // namespace gguf
