// A file that is replaced as a whole: until commit() has renamed the finished temporary file over it, the old one stays
// as it was, through errors, a full disk, a crash of the program and, on POSIX systems, of the machine.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "moe/io/input_file.hpp"

#if defined(_WIN32) || defined(MOE_IO_PORTABLE)
#include <fstream>
#include <random>
#endif

MOE_NAMESPACE_BEGIN

namespace detail {

/// Removes the file of that path, unless it was released.
class TemporaryPath {
 public:
  TemporaryPath() = default;
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;
  ~TemporaryPath() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  void own(std::filesystem::path path) { path_ = std::move(path); }
  void release() { path_.clear(); }

 private:
  std::filesystem::path path_;
};

/// Writes to `.moe-*.tmp` in the folder of the path, which must be on the same file system for the rename to be atomic.
/// A symbolic link is followed: its target is replaced, not the link. All errors are io::FileError.
class AtomicFile {
 public:
  /// The new file takes the mode of an old one, or the process's default for new files.
  explicit AtomicFile(const std::filesystem::path& path);
  void write(std::span<const std::byte> bytes);
  /// The temporary file, for reading what has been written until now.
  const std::filesystem::path& written();
  /// Flushes to the disk and closes: nothing more can be written.
  void finish();
  /// Finishes, renames, and flushes the folder.
  void commit();
  /// Commits several: all are finished before the first is renamed, in their order. A crash of the machine between the
  /// renames leaves new files beside old ones.
  static void commit(std::deque<AtomicFile>& files) {
    for (AtomicFile& file : files) file.finish();
    for (AtomicFile& file : files) file.replace();
    for (const AtomicFile& file : files) file.flush_folder();
  }

 private:
  void replace();
  void flush_folder() const;
  [[noreturn]] void fail(std::string_view what, const std::string& reason) const {
    fail_io(target_.string(), ": ", what, ": ", reason);
  }
  std::filesystem::path fresh_path() const;

  std::filesystem::path target_, folder_;  // made before: after a rename no memory may be needed
  TemporaryPath temporary_;
#if !defined(_WIN32) && !defined(MOE_IO_PORTABLE)
  Descriptor file_;  // after the path: closed before the file is removed
#else
  std::ofstream file_;
#endif
};

inline std::filesystem::path AtomicFile::fresh_path() const {
  static std::atomic<std::uint64_t> counter{0};
#if !defined(_WIN32) && !defined(MOE_IO_PORTABLE)
  const auto process = static_cast<std::uint64_t>(::getpid());
#else
  const auto process = static_cast<std::uint64_t>(std::random_device{}());
#endif
  return folder_ / (".moe-" + std::to_string(process) + "-" + std::to_string(counter++) + ".tmp");
}

/// The file that is to be replaced: `path` with symbolic links followed. Throws if something else than a file is there.
inline std::filesystem::path replaceable_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  if (kind == std::filesystem::file_type::not_found && !std::filesystem::is_symlink(path, error)) return path;
  if (kind != std::filesystem::file_type::regular)
    fail_io(path.string(),
            ": cannot write: ", kind == std::filesystem::file_type::none ? error.message() : "not a regular file");
  auto target = std::filesystem::canonical(path, error);
  if (error) fail_io(path.string(), ": cannot write: ", error.message());
  return target;
}

#if !defined(_WIN32) && !defined(MOE_IO_PORTABLE)

inline AtomicFile::AtomicFile(const std::filesystem::path& path)
    : target_(replaceable_file(path)), folder_(target_.has_parent_path() ? target_.parent_path() : ".") {
  std::filesystem::path candidate;
  do {  // a file of that name can only be left over from a killed process that had our number
    candidate = fresh_path();
    file_ = Descriptor(::open(candidate.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  } while (file_.number() < 0 && errno == EEXIST);
  if (file_.number() < 0) fail("cannot write a temporary file beside it", system_message());
  temporary_.own(std::move(candidate));
  struct stat old {};
  if (::stat(target_.c_str(), &old) == 0 && ::fchmod(file_.number(), old.st_mode & 07777) != 0)
    fail("cannot keep the file's mode", system_message());
}

inline void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_.number(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot write", system_message());
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

inline const std::filesystem::path& AtomicFile::written() { return temporary_.path(); }

inline void AtomicFile::finish() {
  if (file_.number() < 0) return;
  // Without this flush, a crash of the machine may leave the new name with empty contents.
  if (::fsync(file_.number()) != 0) fail("cannot write", system_message());
  if (!file_.close()) fail("cannot write", system_message());
}

inline void AtomicFile::replace() {
  if (::rename(temporary_.path().c_str(), target_.c_str()) != 0) fail("cannot replace", system_message());
  temporary_.release();
}

inline void AtomicFile::flush_folder() const {
  // The folder may be unreadable, or its file system may not flush folders (EINVAL): the file is complete all the same.
  const Descriptor directory(::open(folder_.c_str(), O_RDONLY | O_CLOEXEC));
  if (directory.number() >= 0 && ::fsync(directory.number()) != 0 && errno != EINVAL)
    fail("replaced, but perhaps not yet on the disk", system_message());
}

#else

inline AtomicFile::AtomicFile(const std::filesystem::path& path)
    : target_(replaceable_file(path)), folder_(target_.has_parent_path() ? target_.parent_path() : ".") {
  auto candidate = fresh_path();
  while (std::filesystem::exists(candidate)) candidate = fresh_path();
  file_.open(candidate, std::ios::binary | std::ios::trunc);
  if (!file_) fail("cannot write", "no temporary file can be opened beside it");
  temporary_.own(std::move(candidate));
  std::error_code error;
  const auto old = std::filesystem::status(target_, error);
  if (old.type() == std::filesystem::file_type::regular)
    std::filesystem::permissions(temporary_.path(), old.permissions(), error);
  if (error && old.type() == std::filesystem::file_type::regular) fail("cannot keep the file's mode", error.message());
}

inline void AtomicFile::write(std::span<const std::byte> bytes) {
  file_.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file_) fail("cannot write", "the disk may be full");
}

inline const std::filesystem::path& AtomicFile::written() {
  if (file_.is_open()) file_.flush();
  if (!file_) fail("cannot write", "the disk may be full");
  return temporary_.path();
}

inline void AtomicFile::finish() {
  if (!file_.is_open()) return;
  file_.close();  // a stream buffers: a full disk may only show here
  if (!file_) fail("cannot write", "the disk may be full");
}

inline void AtomicFile::replace() {
  std::error_code error;
  std::filesystem::rename(temporary_.path(), target_, error);
  if (error) fail("cannot replace", error.message());
  temporary_.release();
}

inline void AtomicFile::flush_folder() const {}

#endif

inline void AtomicFile::commit() {
  finish();
  replace();
  flush_folder();
}

}  // namespace detail

MOE_NAMESPACE_END
