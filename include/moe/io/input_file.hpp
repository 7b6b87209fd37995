// A regular file, open for reading at any offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "moe/io/file_error.hpp"
#include "moe/io/mapped_bytes.hpp"

// The POSIX calls give what the standard library does not: reads at an offset, the flush to the disk, and pipes that
// are not waited for. MOE_IO_PORTABLE chooses the standard library's streams also where there is POSIX.
#if !defined(_WIN32) && !defined(MOE_IO_PORTABLE)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#else
#include <fstream>
#include <mutex>
#include <system_error>
#include <utility>
#endif

MOE_NAMESPACE_BEGIN

namespace detail {

#if !defined(_WIN32) && !defined(MOE_IO_PORTABLE)

/// The text of errno, from a function that threads may share.
inline std::string system_message() { return std::generic_category().message(errno); }

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { close(); }

  int number() const { return number_; }
  bool close() {
    const int number = std::exchange(number_, -1);
    return number < 0 || ::close(number) == 0 || errno == EINTR;
  }

 private:
  int number_;
};

#endif

/// Keeps the file that it opened: one that is later renamed over the path does not change what is read. Any number of
/// threads may read at once.
class InputFile {
 public:
  /// Throws io::FileError if there is no regular file that can be read; never waits for one (a pipe).
  explicit InputFile(const std::filesystem::path& path);

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }

  /// Fills `bytes` from `offset`. Throws io::FileError on an error and if the file has become shorter.
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;

  /// The same bytes without a copy, where the system maps files: nothing is read before it is touched.
  /// Requires offset + count <= size().
  io::MappedBytes map(std::uint64_t offset, std::uint64_t count) const;

 private:
  void require_addressable(std::uint64_t count) const {
    if (count > static_cast<std::uint64_t>((std::numeric_limits<std::ptrdiff_t>::max)()))
      fail_io(name_, ": ", count, " bytes exceed the address space");
  }

  std::string name_;
  std::uint64_t size_ = 0;
#if !defined(_WIN32) && !defined(MOE_IO_PORTABLE)
  Descriptor file_;
#else
  mutable std::mutex mutex_;
  mutable std::ifstream file_;
#endif
};

#if !defined(_WIN32) && !defined(MOE_IO_PORTABLE)

inline InputFile::InputFile(const std::filesystem::path& path) : name_(path.string()) {
  // O_NONBLOCK: opening a pipe without a writer would wait; it changes nothing for a regular file.
  file_ = Descriptor(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (file_.number() < 0) fail_io(name_, ": cannot open: ", system_message());
  struct stat status {};
  if (::fstat(file_.number(), &status) != 0) fail_io(name_, ": cannot open: ", system_message());
  if (!S_ISREG(status.st_mode)) fail_io(name_, ": not a regular file");
  size_ = static_cast<std::uint64_t>(status.st_size);
}

inline void InputFile::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(file_.number(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_io(name_, ": cannot read: ", system_message());
    if (count == 0) fail_io(name_, ": became shorter while it was read");
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

inline io::MappedBytes InputFile::map(std::uint64_t offset, std::uint64_t count) const {
  if (count == 0) return {};
  struct stat status {};
  if (::fstat(file_.number(), &status) != 0) fail_io(name_, ": cannot read: ", system_message());
  if (static_cast<std::uint64_t>(status.st_size) < offset + count) fail_io(name_, ": became shorter while it was read");
  const std::uint64_t skipped = offset % static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  require_addressable(count + skipped);
  const auto length = static_cast<std::size_t>(count + skipped);
  void* const begin =
      ::mmap(nullptr, length, PROT_READ, MAP_PRIVATE, file_.number(), static_cast<off_t>(offset - skipped));
  if (begin == MAP_FAILED) fail_io(name_, ": cannot map ", count, " bytes: ", system_message());
  return io::MappedBytes(begin, length, static_cast<std::size_t>(skipped));
}

#else

inline InputFile::InputFile(const std::filesystem::path& path) : name_(path.string()) {
  std::error_code error;
  const bool regular = std::filesystem::is_regular_file(path, error);
  if (error) fail_io(name_, ": cannot open: ", error.message());
  if (!regular) fail_io(name_, ": not a regular file");
  size_ = std::filesystem::file_size(path, error);
  if (error) fail_io(name_, ": cannot open: ", error.message());
  file_.open(path, std::ios::binary);
  if (!file_) fail_io(name_, ": cannot open");
}

inline void InputFile::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  const std::scoped_lock lock(mutex_);
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(offset));
  file_.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (file_.eof()) fail_io(name_, ": became shorter while it was read");
  if (!file_) fail_io(name_, ": cannot read");
}

inline io::MappedBytes InputFile::map(std::uint64_t offset, std::uint64_t count) const {
  require_addressable(count);
  std::vector<std::byte> copy(static_cast<std::size_t>(count));
  read(offset, copy);
  return io::MappedBytes(std::move(copy));
}

#endif

}  // namespace detail

MOE_NAMESPACE_END
