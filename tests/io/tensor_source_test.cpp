#include "moe/io/tensor_source.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "temporary_folder.hpp"

namespace tensor_source_test {

using moe::io::DType;
using moe::io::FileError;
using moe::io::format_of;
using moe::io::TensorSource;

TEST(TensorSource, CountsBytes) {
  EXPECT_EQ(moe::detail::bytes_of("file", TensorSource{"w", format_of(DType::BF16), {2, 3}, {}}), 12u);
  EXPECT_EQ(moe::detail::bytes_of("file", TensorSource{"w", format_of(DType::F32), {}, {}}), 4u);
  EXPECT_EQ(moe::detail::bytes_of("file", TensorSource{"w", *moe::io::gguf_format(8), {3, 64}, {}}), 3u * 68);
  const auto error = [](const moe::io::TensorFormat& format, std::vector<std::uint64_t> shape) {
    return message_of<FileError>([&] { moe::detail::bytes_of("file", TensorSource{"w", format, shape, {}}); });
  };
  EXPECT_NE(error(*moe::io::gguf_format(8), {32, 3}).find("rows of 3 numbers are no whole blocks of 32 (Q8_0)"),
            std::string::npos);
  EXPECT_NE(error(format_of(DType::F32), {1ull << 40, 1ull << 40}).find("overflows"), std::string::npos);
}

TEST(TensorSource, BytesAreAsManyAsDeclared) {
  const TemporaryFolder folder;
  const auto error = [&](std::size_t bytes) {
    moe::detail::AtomicFile file(folder / "file");
    const TensorSource tensor{"w", format_of(DType::F32), {2}, [&](const moe::io::ByteSink& sink) {
                                for (std::size_t i = 0; i < bytes; ++i) sink(std::vector<std::byte>(1));
                              }};
    std::uint64_t count = 0;
    const std::string message = message_of<FileError>(
        [&] { moe::detail::write_tensor("file", tensor, file, [&](std::uint64_t more) { count += more; }); });
    if (message.empty()) {
      EXPECT_EQ(count, bytes);
    }
    return message;
  };
  EXPECT_EQ(error(8), "");
  EXPECT_NE(error(7).find("file: tensor 'w': F32 [2] needs 8 bytes, 7 are given"), std::string::npos);
  EXPECT_NE(error(9).find("needs 8 bytes, 9 are given"), std::string::npos);
  EXPECT_EQ(folder.files(), 0);
}

}  // namespace tensor_source_test
