// The reader against files that it must refuse, and against damage to a file that it accepts.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "hostile_corpus.hpp"
#include "moe/io/safetensors_reader.hpp"
#include "temporary_folder.hpp"

#ifdef __linux__
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#endif

namespace safetensors_corpus_test {

using moe::io::FileError;
using moe::io::Safetensors;

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Expects that everything the reader reports is what the file's own text and bytes say, told by a second parser.
void expect_loads_exactly(const Safetensors& file, const std::string& bytes) {
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  auto header = nlohmann::json::parse(bytes.substr(8, length));
  const auto metadata = header.contains("__metadata__") ? header["__metadata__"] : nlohmann::json::object();
  EXPECT_EQ(nlohmann::json(file.metadata()), metadata);
  header.erase("__metadata__");
  ASSERT_EQ(file.names().size(), header.size());
  std::string data;
  for (const std::string& name : file.names()) {
    const auto& info = file.tensor(name);
    const auto& entry = header.at(name);
    EXPECT_EQ(nlohmann::json(moe::io::dtype_name(info.dtype)), entry.at("dtype"));
    EXPECT_EQ(nlohmann::json(info.shape), entry.at("shape"));
    EXPECT_EQ(nlohmann::json({info.begin, info.end}), entry.at("data_offsets"));
    EXPECT_EQ(info.size() * moe::io::dtype_bits(info.dtype), info.bytes() * 8);
    data += text_of(file.bytes(name));
  }
  EXPECT_EQ(data, bytes.substr(8 + length));
}

bool loads(const std::filesystem::path& path, const std::string& bytes) {
  write_file(path, bytes);
  try {
    expect_loads_exactly(Safetensors::open(path), bytes);
    return true;
  } catch (const FileError& error) {
    EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    EXPECT_LT(std::string(error.what()).size(), 600u);
    return false;
  }
}

TEST(SafetensorsCorpus, HoldsEveryVerdict) {
  std::size_t count[4] = {};
  for (const auto& file : hostile::corpus()) ++count[static_cast<std::size_t>(file.verdict)];
  EXPECT_EQ(count[0], 16u);
  EXPECT_EQ(count[1], 77u);
  EXPECT_EQ(count[2] + count[3], 10u);
}

TEST(SafetensorsCorpus, EachFileGetsItsVerdict) {
  const TemporaryFolder folder;
  for (const auto& file : hostile::corpus()) {
    SCOPED_TRACE(file.name);
    const bool good = file.verdict == hostile::Verdict::ok || file.verdict == hostile::Verdict::policy_accept;
    EXPECT_EQ(loads(folder / "file", file.bytes), good);
  }
}

TEST(SafetensorsCorpus, MessagesNameFileTensorAndField) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& header, const std::string& data) {
    const auto path = write_file(folder / "broken.safetensors", hostile::file(header, data));
    return message_of<FileError>([&] { Safetensors::open(path); });
  };
  const auto expect_words = [](const std::string& text, std::initializer_list<const char*> words) {
    for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " in: " << text;
  };
  using namespace hostile;
  expect_words(message(test(info(R"("F33")")), data16), {"broken.safetensors", "'test'", "'dtype'", "'F33'"});
  expect_words(message(test(f32("[2.0,2]", "[0,16]")), data16), {"broken.safetensors", "'test'", "'shape'"});
  expect_words(message(test(f32("[2,2]", "[0,4]")), zeros(4)), {"'test'", "'data_offsets'", "F32 [2, 2]", "16"});
  expect_words(message(R"({"__metadata__":{"n":0}})", ""), {"'__metadata__'", "'n'"});
  expect_words(message(R"({"test":{"dtype":"F32","dtype":"I32"}})", ""), {"'test'", "'dtype'", "twice"});
}

TEST(SafetensorsCorpus, MessagesTellTheFirstThingThatIsWrong) {
  const TemporaryFolder folder;
  const auto expect_reason = [&](const std::string& bytes, const std::string& reason) {
    const auto path = write_file(folder / "file", bytes);
    const std::string text = message_of<FileError>([&] { Safetensors::open(path); });
    EXPECT_NE(text.find(reason), std::string::npos) << reason << " in: " << text;
  };
  using namespace hostile;
  expect_reason(framed(100'000'001, good_header, data16), "exceeds 100000000");
  expect_reason("#include <vector>\n", "file: not a safetensors file: it begins with '#include'");
  expect_reason("\x89PNG\r\n\x1a\n and so on", "file: not a safetensors file: it begins with '?PNG");
  expect_reason("moe", "file: not a safetensors file: too short for a header: 3 bytes");
  expect_reason(framed(4, "text", ""), "file: not a safetensors file: the header does not begin with '{'");
  expect_reason(framed(5, "{}", ""), "file: cut short, or not a safetensors file");
  expect_reason(framed(100'000'000, good_header, data16), "beyond the end of the file");
  expect_reason(file(test(f32("[2,2]", "[16,0]")), data16), "ends before it begins");
  expect_reason(file(test(f32("[5]", "[0,20]")), data16), "beyond the end of the file");
  expect_reason(file(test(f32("[2]", "[8,16]")), data16), "leaves a hole");
  expect_reason(file(object({{"a", info()}, {"b", f32("[2]", "[8,16]")}}), data16), "overlaps another tensor");
  expect_reason(file(test(info(R"("F4")", "[1,3]", "[0,1]")), zeros(1)), "does not fill whole bytes");
  expect_reason(file(good_header, zeros(17)), "1 bytes after the last tensor");
}

TEST(SafetensorsCorpus, MessagesMaskAndCutHostileNames) {
  const TemporaryFolder folder;
  const std::string name = "\\u001b[2J" + std::string(100'000, 'x');
  const auto path = write_file(folder / "file", hostile::file(hostile::object({{name, "null"}})));
  const std::string text = message_of<FileError>([&] { Safetensors::open(path); });
  EXPECT_NE(text.find("'?[2Jxxx"), std::string::npos) << text;
  EXPECT_LT(text.size(), 600u);
}

TEST(SafetensorsCorpus, DuplicateKeysAreRefusedAtEveryDepth) {
  const TemporaryFolder folder;
  const auto with_extra = [&](const std::string& extra) {
    return hostile::file(R"({"t":{"extra":)" + extra + R"(,"dtype":"U8","shape":[0],"data_offsets":[0,0]}})");
  };
  EXPECT_TRUE(loads(folder / "file", with_extra(R"({"a":[{"a":-1.5},null,true,[],{"dtype":{}}],"b":"a"})")));
  EXPECT_FALSE(loads(folder / "file", with_extra(R"({"a":[{"b":1,"b":1}]})")));
  EXPECT_FALSE(loads(folder / "file", with_extra(R"(1,"extra":1)")));
  EXPECT_TRUE(loads(folder / "file", with_extra(hostile::repeated("[", 50) + hostile::repeated("]", 50))));
  EXPECT_FALSE(loads(folder / "file", with_extra(hostile::repeated("[", 100) + hostile::repeated("]", 100))));
}

TEST(SafetensorsCorpus, NamesThatArePathsAreRefused) {
  const TemporaryFolder folder;
  const auto named = [&](const std::string& name) {
    return loads(folder / "file", hostile::file(hostile::object({{name, hostile::u8("[0]", "[0,0]")}})));
  };
  for (const char* name : {"a/b", "a..b", "...", "block/0/..w", "a:b", "C:"}) EXPECT_TRUE(named(name)) << name;
  for (const char* name : {"..", "a/..", "../a", "a/../b", "a\\\\..", "/a", "\\\\a", "C:/a", "C:\\\\a"})
    EXPECT_FALSE(named(name)) << name;
}

TEST(SafetensorsCorpus, RankIsLimitedTo64) {
  const TemporaryFolder folder;
  const auto rank = [](std::size_t count) {
    return hostile::file(hostile::test(hostile::u8("[1" + hostile::repeated(",1", count - 1) + "]", "[0,1]")), "x");
  };
  EXPECT_TRUE(loads(folder / "file", rank(64)));
  EXPECT_FALSE(loads(folder / "file", rank(65)));
}

// 200 bytes with three tensors, a scalar and an empty one among them, and metadata.
std::string small_valid_file() {
  using namespace hostile;
  return file(R"({"__metadata__":{"k":"v"},"a":)" + f32("[2,1]", "[0,8]") + R"(,"b":)" +
                  info(R"("I16")", "[]", "[8,10]") + R"(,"c":)" + u8("[0,3]", "[10,10]") + "}",
              "\1\2\3\4\5\6\7\x08\x09\x0a");
}

TEST(SafetensorsDamage, EveryTruncationIsRefused) {
  const TemporaryFolder folder;
  const std::string whole = small_valid_file();
  ASSERT_TRUE(loads(folder / "file", whole));
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(loads(folder / "file", whole.substr(0, length))) << length;
}

TEST(SafetensorsDamage, EveryBitFlipIsRefusedOrLoadsExactly) {
  const TemporaryFolder folder;
  const std::string whole = small_valid_file();
  std::size_t accepted = 0;
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    SCOPED_TRACE(bit);
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    accepted += loads(folder / "file", damaged);
  }
  EXPECT_GE(accepted, 80u);                   // at least each flip in the data
  EXPECT_LT(accepted, 8 * whole.size() / 4);  // most of the header is structure
}

TEST(SafetensorsOpen, WhatIsNoFileIsAnError) {
  const TemporaryFolder folder;
  write_file(folder / "file", small_valid_file());
  EXPECT_THROW(Safetensors::open(folder / "missing"), FileError);
  EXPECT_THROW(Safetensors::open(folder.path()), FileError);
  EXPECT_THROW(Safetensors::open(folder / "file/below"), FileError);
}

#ifdef __linux__

TEST(SafetensorsOpen, APipeIsAnErrorAndNotWaitedFor) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_NE(message_of<FileError>([&] { Safetensors::open(folder / "pipe"); }).find("not a regular file"),
            std::string::npos);
}

TEST(SafetensorsOpen, AFileThatIsRenamedOverDoesNotDisturb) {
  const TemporaryFolder folder;
  const auto path = write_file(folder / "file", hostile::file(hostile::good_header, std::string(16, 'a')));
  const Safetensors file = Safetensors::open(path);
  std::filesystem::rename(write_file(folder / "new", "short"), path);
  EXPECT_EQ(text_of(file.bytes("test")), std::string(16, 'a'));
}

TEST(SafetensorsOpen, AFileThatBecomesShorterIsAnError) {
  const TemporaryFolder folder;
  const auto path = write_file(folder / "file", hostile::file(hostile::good_header, hostile::data16));
  const Safetensors file = Safetensors::open(path);
  std::filesystem::resize_file(path, 80);
  EXPECT_NE(message_of<FileError>([&] { file.bytes("test"); }).find("shorter"), std::string::npos);
}

// With 64 MiB more than the process already has, only a reader that allocates by a declared size fails otherwise.
[[noreturn]] void open_all_with_little_memory(const std::vector<std::filesystem::path>& paths) {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit limit{};
  limit.rlim_cur = limit.rlim_max = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + (std::size_t{64} << 20);
  if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
  for (const auto& path : paths) {
    try {
      Safetensors::open(path);
      _exit(3);
    } catch (const FileError&) {
    }
  }
  _exit(0);
}

TEST(SafetensorsOpen, DeclaredSizesAreNotAllocated) {
  const TemporaryFolder folder;
  std::vector<std::filesystem::path> paths;
  for (const auto& file : hostile::corpus())
    if (file.verdict == hostile::Verdict::bad) paths.push_back(write_file(folder / file.name, file.bytes));
  ASSERT_TRUE(std::filesystem::exists(folder / "bad_off_1TB"));
  const std::string large_header = hostile::framed(100'000'000, hostile::good_header, hostile::data16);
  paths.push_back(write_file(folder / "large_header", large_header));
  EXPECT_EXIT(open_all_with_little_memory(paths), testing::ExitedWithCode(0), "");
}

#endif

}  // namespace safetensors_corpus_test
