// Bytes of a file as they lie in it, which the system reads when they are touched.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"

#if !defined(_WIN32) && !defined(MOE_IO_PORTABLE)
#include <sys/mman.h>
#endif

MOE_NAMESPACE_BEGIN

namespace io {

/// Owns a mapping of a part of a file, or, where the system has none, a copy. It needs no open file, and one that is
/// renamed over the path does not change it. A file that another program cuts short while its bytes are touched ends
/// the program with SIGBUS, as the system does for every mapping.
class MappedBytes {
 public:
  MappedBytes() = default;
  /// Takes a copy.
  explicit MappedBytes(std::vector<std::byte> copy) : copy_(std::move(copy)), bytes_(copy_) {}
  /// Takes the mapping [begin, begin + length), whose first `skipped` bytes are not wanted.
  MappedBytes(void* begin, std::size_t length, std::size_t skipped)
      : mapping_(begin), length_(length), bytes_(static_cast<const std::byte*>(begin) + skipped, length - skipped) {}
  MappedBytes(MappedBytes&& other) noexcept { swap(other); }
  MappedBytes& operator=(MappedBytes&& other) noexcept {
    swap(other);
    return *this;
  }
  ~MappedBytes() {
#if !defined(_WIN32) && !defined(MOE_IO_PORTABLE)
    if (mapping_ != nullptr) ::munmap(mapping_, length_);
#endif
  }

  std::size_t size() const { return bytes_.size(); }
  std::span<const std::byte> bytes() const& { return bytes_; }
  std::span<const std::byte> bytes() const&& = delete;  // they would be gone

 private:
  void swap(MappedBytes& other) noexcept {
    std::swap(copy_, other.copy_);  // what a span shows of a vector moves with the vector
    std::swap(mapping_, other.mapping_);
    std::swap(length_, other.length_);
    std::swap(bytes_, other.bytes_);
  }

  std::vector<std::byte> copy_;
  void* mapping_ = nullptr;
  std::size_t length_ = 0;
  std::span<const std::byte> bytes_;
};

}  // namespace io

MOE_NAMESPACE_END
