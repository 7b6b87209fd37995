// Checkpoints of one layer, in any format, for measuring how fast they are read. What the bytes say is chance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <moe/io/checkpoint.hpp>
#include <moe/io/safetensors_writer.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace checkpoint_bench {

using Shape = std::vector<std::uint64_t>;

constexpr std::uint64_t experts = 8, width = 1024, hidden = 1792;

inline std::vector<std::byte> random_bytes(std::uint64_t count) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count));
  std::uint64_t state = count;
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

/// A tensor of a safetensors file.
inline void add(moe::io::SafetensorsWriter& writer, const std::string& name, moe::io::DType dtype, const Shape& shape) {
  std::uint64_t bits = moe::io::dtype_bits(dtype);
  for (const std::uint64_t dimension : shape) bits *= dimension;
  writer.add(name, dtype, shape, random_bytes(bits / 8));
}

inline std::filesystem::path folder_of(const std::filesystem::path& folder, const moe::io::SafetensorsWriter& writer,
                                       const std::string& settings) {
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "config.json") << settings;
  writer.write(folder / "model.safetensors");
  return folder;
}

/// Mixtral's layout: a matrix a tensor. 8-bit floats have scales for blocks of 128 x 128.
inline std::filesystem::path write_mixtral(const std::filesystem::path& folder, moe::io::DType dtype) {
  moe::io::SafetensorsWriter writer;
  const std::string block = "model.layers.0.block_sparse_moe.";
  add(writer, block + "gate.weight", moe::io::DType::F32, {experts, width});
  for (std::uint64_t e = 0; e < experts; ++e)
    for (const char* const part : {"w1", "w2", "w3"}) {
      const std::string name = block + "experts." + std::to_string(e) + "." + part + ".weight";
      const bool is_down = part == std::string_view("w2");
      const Shape shape = is_down ? Shape{width, hidden} : Shape{hidden, width};
      add(writer, name, dtype, shape);
      if (dtype == moe::io::DType::F8_E4M3)
        add(writer, name + "_scale_inv", moe::io::DType::F32, {shape[0] / 128, shape[1] / 128});
    }
  return folder_of(folder, writer, R"({"model_type": "mixtral", "num_experts_per_tok": 2})");
}

/// gpt-oss: all experts in a tensor; mxfp4 with its scales beside, or bfloat16 with inputs as rows.
inline std::filesystem::path write_gpt_oss(const std::filesystem::path& folder, bool is_mxfp4) {
  using moe::io::DType;
  moe::io::SafetensorsWriter writer;
  const std::string block = "model.layers.0.mlp.";
  add(writer, block + "router.weight", DType::BF16, {experts, width});
  add(writer, block + "router.bias", DType::BF16, {experts});
  for (const auto& [name, outputs, inputs] :
       {std::tuple{"gate_up_proj", 2 * hidden, width}, {"down_proj", width, hidden}}) {
    const std::string tensor = block + "experts." + name;
    add(writer, tensor + "_bias", DType::BF16, {experts, outputs});
    if (is_mxfp4) {
      add(writer, tensor + "_blocks", DType::U8, {experts, outputs, inputs / 32, 16});
      add(writer, tensor + "_scales", DType::U8, {experts, outputs, inputs / 32});
    } else {
      add(writer, tensor, DType::BF16, {experts, inputs, outputs});
    }
  }
  return folder_of(folder, writer, R"({"model_type": "gpt_oss", "num_experts_per_tok": 2})");
}

/// A GGUF file of qwen3moe, whose experts have the type of that number.
inline std::filesystem::path write_gguf(const std::filesystem::path& path, std::uint32_t type) {
  std::string header, tensors;
  std::vector<std::byte> data;
  const auto number = [](std::string& to, auto value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const auto text = [&](std::string& to, const std::string& value) {
    number(to, std::uint64_t{value.size()});
    to += value;
  };
  const auto tensor = [&](const std::string& name, const Shape& dimensions, std::uint32_t of_type) {
    text(tensors, name);
    number(tensors, static_cast<std::uint32_t>(dimensions.size()));
    const moe::io::TensorFormat format = *moe::io::gguf_format(of_type);
    std::uint64_t count = format.bytes;
    for (const std::uint64_t dimension : dimensions) number(tensors, dimension), count *= dimension;
    number(tensors, of_type);
    number(tensors, std::uint64_t{data.size()});
    const auto bytes = random_bytes(count / format.elements);
    data.insert(data.end(), bytes.begin(), bytes.end());
    data.resize((data.size() + 31) / 32 * 32);
  };
  tensor("blk.0.ffn_gate_inp.weight", {width, experts}, 0);
  tensor("blk.0.ffn_gate_exps.weight", {width, hidden, experts}, type);
  tensor("blk.0.ffn_up_exps.weight", {width, hidden, experts}, type);
  tensor("blk.0.ffn_down_exps.weight", {hidden, width, experts}, type);
  header = "GGUF";
  number(header, std::uint32_t{3});
  number(header, std::uint64_t{4});
  number(header, std::uint64_t{2});
  text(header, "general.architecture");
  number(header, std::uint32_t{8});
  text(header, "qwen3moe");
  text(header, "qwen3moe.expert_used_count");
  number(header, std::uint32_t{4});
  number(header, std::uint32_t{2});
  header += tensors;
  header.resize((header.size() + 31) / 32 * 32, '\0');
  std::ofstream file(path, std::ios::binary);
  file << header;
  file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
  return path;
}

}  // namespace checkpoint_bench
