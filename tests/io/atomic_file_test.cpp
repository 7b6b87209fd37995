// Replacing a file: after every failure the old one is there, whole, and nothing else is.
#include "moe/io/atomic_file.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <string>
#include <vector>

#include "moe/io/safetensors_writer.hpp"
#include "temporary_folder.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#endif

namespace atomic_file_test {

using moe::io::FileError;
using moe::io::SafetensorsWriter;

SafetensorsWriter writer_of(std::size_t count, double value) {
  SafetensorsWriter writer;
  writer.add("values", moe::Vector<double>::Constant(static_cast<moe::Index>(count), value));
  return writer;
}

TEST(AtomicFile, ReplacesAndLeavesNothingElse) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  writer_of(10, 1).write(folder / "file");
  writer_of(10, 1).write(folder / "new");
  EXPECT_EQ(read_file(folder / "file"), read_file(folder / "new"));
  EXPECT_EQ(folder.files(), 2);
}

TEST(AtomicFile, WithoutCommitTheOldFileStays) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  {
    moe::detail::AtomicFile file(folder / "file");
    file.write(std::vector<std::byte>(100));
    EXPECT_EQ(folder.files(), 2);
  }
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(folder.files(), 1);
}

TEST(AtomicFile, WhatIsWrittenCanBeReadBefore) {
  const TemporaryFolder folder;
  moe::detail::AtomicFile file(folder / "file");
  file.write(std::vector<std::byte>(3, std::byte{'a'}));
  EXPECT_EQ(read_file(file.written()), "aaa");
  file.write(std::vector<std::byte>(1, std::byte{'b'}));
  EXPECT_EQ(read_file(file.written()), "aaab");
  EXPECT_FALSE(std::filesystem::exists(folder / "file"));
  file.commit();
  EXPECT_EQ(read_file(folder / "file"), "aaab");
}

TEST(AtomicFile, AFinishedFileIsClosedAndCanBeReadAndCommitted) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  moe::detail::AtomicFile file(folder / "file");
  file.write(std::vector<std::byte>(3, std::byte{'a'}));
  file.finish();
  file.finish();
  EXPECT_EQ(read_file(file.written()), "aaa");
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_THROW(file.write(std::vector<std::byte>(1)), FileError);
}

TEST(AtomicFile, SeveralAreRenamedInTheirOrder) {
  const TemporaryFolder folder;
  std::deque<moe::detail::AtomicFile> files;
  for (const char* name : {"a", "b", "c"})
    files.emplace_back(folder / name).write(std::vector<std::byte>(1, std::byte{'x'}));
  files[1].finish();
  moe::detail::AtomicFile::commit(files);
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(read_file(folder / name), "x");
  EXPECT_EQ(folder.files(), 3);
  std::deque<moe::detail::AtomicFile> none;
  moe::detail::AtomicFile::commit(none);
}

TEST(AtomicFile, WhatCannotBeReplacedIsAnError) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "directory");
  write_file(folder / "file", "old");
  EXPECT_THROW(writer_of(1, 1).write(folder / "directory"), FileError);
  EXPECT_THROW(writer_of(1, 1).write(folder / "missing/file"), FileError);
  EXPECT_THROW(writer_of(1, 1).write(folder / "file/below"), FileError);
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(folder.files(), 2);
}

TEST(AtomicFile, AFailingRenameRemovesTheTemporaryFile) {
  const TemporaryFolder folder;
  moe::detail::AtomicFile* file = new moe::detail::AtomicFile(folder / "file");
  std::filesystem::create_directories(folder / "file/in the way");
  EXPECT_THROW(file->commit(), FileError);
  delete file;
  EXPECT_EQ(folder.files(), 1);
}

TEST(AtomicFile, ABareNameIsInTheCurrentFolder) {
  const TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  writer_of(1, 1).write("file");
  std::filesystem::current_path(before);
  EXPECT_TRUE(std::filesystem::exists(folder / "file"));
}

TEST(AtomicFile, ASymbolicLinkIsFollowed) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "store");
  write_file(folder / "store/file", "old");
  std::filesystem::create_symlink("store/file", folder / "link");
  writer_of(1, 1).write(folder / "link");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_NE(read_file(folder / "store/file"), "old");
  std::filesystem::create_symlink("nowhere", folder / "dangling");
  EXPECT_THROW(writer_of(1, 1).write(folder / "dangling"), FileError);
}

#if defined(__unix__) || defined(__APPLE__)

/// A limit on the size of written files, as a full disk: the writes beyond it fail.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int);
};

TEST(AtomicFile, AFullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  writer_of(10, 1).write(folder / "file");
  const std::string old = read_file(folder / "file");
  for (const rlim_t bytes : {rlim_t{0}, rlim_t{4}, rlim_t{50}, rlim_t{4096}, rlim_t{8000}}) {
    const auto writer = writer_of(1000, 2);
    std::string message;
    {
      const FileSizeLimit limit(bytes);
      message = message_of<FileError>([&] { writer.write(folder / "file"); });
    }
    EXPECT_NE(message.find("cannot write"), std::string::npos) << bytes << ": " << message;
    EXPECT_EQ(read_file(folder / "file"), old);
    EXPECT_EQ(folder.files(), 1);
  }
}

mode_t mode_of(const std::filesystem::path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mode & 07777;
}

TEST(AtomicFile, ModeIsThatOfTheOldFileOrOfTheProcess) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  writer_of(1, 1).write(folder / "file");
  EXPECT_EQ(mode_of(folder / "file"), 0640u);
  ASSERT_EQ(::chmod((folder / "file").c_str(), 0604), 0);
  writer_of(2, 1).write(folder / "file");
  EXPECT_EQ(mode_of(folder / "file"), 0604u);
  ::umask(before);
}

TEST(AtomicFile, APipeIsNotReplaced) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(writer_of(1, 1).write(folder / "pipe"), FileError);
}

TEST(AtomicFile, AKilledWriterLeavesAWholeFile) {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  writer_of(20'000, 1).write(folder / "one");
  writer_of(20'000, 2).write(folder / "two");
  const std::string one = read_file(folder / "one"), two = read_file(folder / "two");
  for (int round = 0; round < 20; ++round) {
    writer_of(20'000, 1).write(path);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const auto first = writer_of(20'000, 1), second = writer_of(20'000, 2);
      for (;;) {
        first.write(path);
        second.write(path);
      }
    }
    ::usleep(static_cast<useconds_t>(500 + 700 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string found = read_file(path);
    EXPECT_TRUE(found == one || found == two);
  }
}

#endif

}  // namespace atomic_file_test
