// GGUF files that a reader must refuse, and unusual ones that it must read.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gguf_bytes.hpp"

namespace hostile {

/// `reason` is a piece of the message; a file without one is read.
struct GgufFile {
  std::string name, bytes, reason;
};

inline void add_framing(std::vector<GgufFile>& files) {
  const std::string whole = gguf::small().bytes();
  const auto add = [&](std::string name, std::string bytes, std::string reason) {
    files.push_back({std::move(name), std::move(bytes), std::move(reason)});
  };
  add("small", whole, "");
  add("nothing", "", "the magic number ends beyond the end");
  add("no magic", "GGUX" + whole.substr(4), "not a GGUF file");
  add("version 2", "GGUF" + gguf::u32(2) + whole.substr(8), "");
  add("version 1", "GGUF" + gguf::u32(1) + whole.substr(8), "version 1 of GGUF");
  add("version 4", "GGUF" + gguf::u32(4) + whole.substr(8), "version 4 of GGUF");
  add("big-endian 3", "GGUF" + gguf::u32(3u << 24) + whole.substr(8), "a big-endian GGUF file");
  add("big-endian 2", "GGUF" + gguf::u32(2u << 24) + whole.substr(8), "a big-endian GGUF file");
  for (const std::uint64_t many : {std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    const std::string count = gguf::u64(many), name = std::to_string(many);
    add("tensors " + name, whole.substr(0, 8) + count + whole.substr(16), "tensor ");
    add("keys " + name, whole.substr(0, 16) + count + whole.substr(24), "a key ends beyond the end of the file");
  }
  add("bytes behind", whole + "and so on", "");
  add("no padding behind", whole.substr(0, whole.size() - 8), "");
  add("one byte short", whole.substr(0, whole.size() - 9), "end beyond the end of the file");
  gguf::File keys_alone = gguf::small();
  keys_alone.tensors.clear();
  keys_alone.data.clear();
  add("keys alone", keys_alone.bytes(), "");
}

inline void add_keys(std::vector<GgufFile>& files) {
  using gguf::key, gguf::text, gguf::u32, gguf::u64;
  const auto add = [&](std::string name, std::string bytes, std::string reason) {
    gguf::File file = gguf::small();
    file.keys.push_back(std::move(bytes));
    files.push_back({std::move(name), file.bytes(), std::move(reason)});
  };
  const auto array = [](std::uint32_t type, std::uint64_t count, const std::string& items) {
    return u32(type) + u64(count) + items;
  };
  add("key twice", key("general.architecture", 4, u32(1)), "'general.architecture' is given twice");
  add("key without name", key("", 4, u32(1)), "a key has no name");
  add("key with NUL", key(std::string("a\0b", 3), 4, u32(1)), "contains a NUL byte");
  add("key of 65536 bytes", key(std::string(65536, 'k'), 4, u32(1)), "is longer than 65535 bytes");
  add("key of 65535 bytes", key(std::string(65535, 'k'), 4, u32(1)), "");
  add("key of 2^62 bytes", u64(1ull << 62) + "k", "a key ends beyond the end of the file");
  add("key of 2^64 - 1 bytes", u64(~0ull) + "k", "a key ends beyond the end of the file");
  add("type 13", key("k", 13, u64(0)), "'k' has the unknown type 13");
  add("boolean 2", key("k", 7, "\2"), "'k' is neither true nor false: 2");
  add("text of 2^40 bytes", key("k", 8, u64(1ull << 40)), "'k' ends beyond the end of the file");
  add("text that is no UTF-8", key("k", 8, text("\xff\xfe")), "");
  add("array of 2^40 bytes", key("k", 9, array(0, 1ull << 40, "")), "'k' ends beyond the end of the file");
  add("array of 2^61 doubles", key("k", 9, array(12, 1ull << 61, "")), "'k' ends beyond the end of the file");
  add("array of 60 texts that are not there", key("k", 9, array(8, 60, "")), "ends beyond the end of the file");
  add("array of arrays", key("k", 9, array(9, 1, array(0, 1, "x"))), "'k' is an array of arrays");
  add("empty array of arrays", key("k", 9, array(9, 0, "")), "'k' is an array of arrays");
  add("array of an unknown type", key("k", 9, array(77, 0, "")), "'k' has the unknown type 77");
  add("empty array", key("k", 9, array(8, 0, "")), "");
  add("alignment 0", key("general.alignment", 4, u32(0)), "is not a power of two in a u32: 0");
  add("alignment 24", key("general.alignment", 4, u32(24)), "is not a power of two in a u32: 24");
  add("alignment in a u64", key("general.alignment", 10, u64(32)), "is not a power of two in a u32: 32");
  add("alignment in a text", key("general.alignment", 8, text("\xff 32")), "is not a power of two in a u32");
  add("alignment 2^31", key("general.alignment", 4, u32(1u << 31)), "end beyond the end of the file");
}

inline void add_tensors(std::vector<GgufFile>& files) {
  using gguf::tensor, gguf::u32, gguf::u64;
  const std::string data(256, '\1');
  const auto add = [&](std::string name, std::vector<std::string> tensors, std::string reason) {
    const gguf::File file{.keys = {}, .tensors = std::move(tensors), .data = data};
    files.push_back({std::move(name), file.bytes(), std::move(reason)});
  };
  const std::uint64_t wide = 1ull << 32;
  add("tensor twice", {tensor("w", {8}, 0, 0), tensor("w", {8}, 0, 32)}, "'w' is given twice");
  add("tensor without name", {tensor("", {8}, 0, 0)}, "");
  add("name of 64 bytes", {tensor(std::string(64, 'n'), {8}, 0, 0)}, "");
  add("name of 65 bytes", {tensor(std::string(65, 'n'), {8}, 0, 0)}, "its name is longer than 64 bytes");
  add("name of a path", {tensor("../../etc/x", {8}, 0, 0)}, "its name has a '..' component");
  add("name with NUL", {tensor(std::string("a\0b", 3), {8}, 0, 0)}, "its name contains a NUL byte");
  add("5 dimensions", {tensor("w", {1, 1, 1, 1, 1}, 0, 0)}, "'w' has 5 dimensions, more than 4");
  add("2^32 - 1 dimensions", {gguf::text("w") + u32(~0u) + u64(1)}, "'w' has 4294967295 dimensions");
  add("no dimension", {tensor("w", {}, 0, 0)}, "");
  add("dimension 0", {tensor("w", {0, 3}, 0, 0)}, "");
  add("dimensions 0 and many", {tensor("w", {0, wide}, 0, 0)}, "");
  add("negative dimension", {tensor("w", {1ull << 63}, 0, 0)}, "a dimension is negative");
  add("negative dimension beside 0", {tensor("w", {1ull << 63, 0}, 0, 0)}, "a dimension is negative");
  add("dimensions that wrap to 0", {tensor("w", {wide, wide}, 0, 0)}, "the product of its dimensions overflows");
  add("dimensions that wrap to 32", {tensor("w", {(1ull << 59) + 1, 32}, 0, 0)}, "dimensions overflows");
  add("bytes that wrap", {tensor("w", {1ull << 62}, 0, 0)}, "the product of its dimensions overflows");
  add("2^61 numbers", {tensor("w", {1ull << 61}, 24, 0)}, "end beyond the end of the file");
  add("rows of 33 in blocks", {tensor("w", {33, 2}, 8, 0)}, "rows of 33 numbers are not whole blocks of 32 (Q8_0)");
  add("a scalar in blocks", {tensor("w", {}, 8, 0)}, "rows of 1 numbers are not whole blocks");
  for (const std::uint32_t type : {4u, 5u, 31u, 38u, 43u, 999u, ~0u})
    add("tensor type " + std::to_string(type), {tensor("w", {32}, type, 0)}, "unknown type");
  add("unaligned", {tensor("w", {2}, 0, 0), tensor("v", {2}, 0, 8)}, "'v': offset 8 is not a multiple");
  add("gap", {tensor("w", {2}, 0, 0), tensor("v", {2}, 0, 64)}, "offset 64, where the tensors before it end at 32");
  add("overlap", {tensor("w", {16}, 0, 0), tensor("v", {2}, 0, 32)},
      "offset 32, where the tensors before it end at 64");
  add("late first tensor", {tensor("w", {2}, 0, 32)}, "offset 32, where the tensors before it end at 0");
  add("out of order", {tensor("w", {2}, 0, 32), tensor("v", {2}, 0, 0)}, "'w': offset 32");
  add("offset near 2^64", {tensor("w", {2}, 0, ~31ull)}, "offset 18446744073709551584");
  add("too long", {tensor("w", {65}, 0, 0)}, "its 260 bytes end beyond the end of the file");
  add("empty tensor at the end", {tensor("w", {64}, 0, 0), tensor("v", {0}, 0, 256)}, "");
}

inline std::vector<GgufFile> gguf_corpus() {
  std::vector<GgufFile> files;
  add_framing(files);
  add_keys(files);
  add_tensors(files);
  return files;
}

}  // namespace hostile
