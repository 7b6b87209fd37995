// Numbers and texts read from a file one after the other, none of them past its end.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "moe/io/input_file.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Reads a file from its beginning. Whatever length the file declares is compared with what is left of it before
/// anything is allocated.
class FileCursor {
 public:
  explicit FileCursor(const InputFile& file) : file_(file) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return file_.size() - position_; }

  /// The next number, in little-endian order; `what` is for the message.
  template <class T>
  T number(std::string_view what) {
    std::array<std::byte, sizeof(T)> bytes;
    read(bytes, what);
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  /// A length of 8 bytes, and as many bytes.
  std::string text(std::string_view what) {
    const auto length = number<std::uint64_t>(what);
    require_left(length, what);
    std::string text(static_cast<std::size_t>(length), '\0');
    read(std::as_writable_bytes(std::span(text)), what);
    return text;
  }

 private:
  void require_left(std::uint64_t count, std::string_view what) const {
    if (count > left())
      fail_io(file_.name(), ": ", what, " ends beyond the end of the file: ", count, " bytes at byte ", position_,
              " of ", file_.size());
  }

  void read(std::span<std::byte> out, std::string_view what) {
    require_left(out.size(), what);
    while (!out.empty()) {
      if (position_ - begin_ >= filled_) {
        begin_ = position_;
        filled_ = static_cast<std::size_t>((std::min)(std::uint64_t{buffer_.size()}, left()));
        file_.read(begin_, std::span(buffer_).first(filled_));
      }
      const auto at = static_cast<std::size_t>(position_ - begin_);
      const std::size_t count = (std::min)(out.size(), filled_ - at);
      std::memcpy(out.data(), buffer_.data() + at, count);
      out = out.subspan(count);
      position_ += count;
    }
  }

  const InputFile& file_;
  std::uint64_t position_ = 0;
  std::uint64_t begin_ = 0;  // of what the buffer holds
  std::size_t filled_ = 0;
  std::array<std::byte, 16384> buffer_;
};

}  // namespace detail

MOE_NAMESPACE_END
