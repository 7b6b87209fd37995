// A checkpoint of 3 GiB: what it costs to open it and to read one of its layers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <moe/expert/glu.hpp>
#include <moe/gating/top_k.hpp>
#include <moe/io/read_layer.hpp>
#include <moe/layer/layer.hpp>
#include <moe/router/router.hpp>
#include <stdexcept>
#include <string>

#include "../../examples/support/table.hpp"
#include "../../examples/support/temporary_folder.hpp"
#include "../support/machine.hpp"
#include "../support/rounds.hpp"
#include "files.hpp"

namespace checkpoint_bench {

/// Mixtral's layout in BF16, 8 layers of 64 experts. The data are a hole in the file: zeros that take no disk.
struct HugeCheckpoint {
  static constexpr std::uint64_t layers = 8, experts = 64, width = 1024, hidden = 1024;
  static constexpr std::uint64_t bytes_of_layer = 2 * (experts * 3 * width * hidden + experts * width);

  static std::filesystem::path write(const std::filesystem::path& folder) {
    std::filesystem::create_directory(folder);
    std::ofstream(folder / "config.json") << R"({"model_type": "mixtral", "num_experts_per_tok": 2})";
    std::string header;
    std::uint64_t end = 0;
    const auto add = [&](const std::string& name, std::uint64_t rows, std::uint64_t cols) {
      const std::uint64_t begin = end;
      end += 2 * rows * cols;
      header += (header.empty() ? "{\"" : ",\"") + name + R"(":{"dtype":"BF16","shape":[)" + std::to_string(rows) +
                "," + std::to_string(cols) + R"(],"data_offsets":[)" + std::to_string(begin) + "," +
                std::to_string(end) + "]}";
    };
    for (std::uint64_t n = 0; n < layers; ++n) {
      const std::string block = "model.layers." + std::to_string(n) + ".block_sparse_moe.";
      add(block + "gate.weight", experts, width);
      for (std::uint64_t e = 0; e < experts; ++e) {
        const std::string expert = block + "experts." + std::to_string(e);
        add(expert + ".w1.weight", hidden, width);
        add(expert + ".w2.weight", width, hidden);
        add(expert + ".w3.weight", hidden, width);
      }
    }
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const auto path = folder / "model.safetensors";
    std::ofstream file(path, std::ios::binary);
    const std::uint64_t length = header.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file << header;
    file.close();
    if (!file) throw std::runtime_error("cannot write " + path.string());
    std::filesystem::resize_file(path, sizeof length + length + end);
    return folder;
  }
};

/// Prints seconds and memory.
inline void measure_huge() {
  using Layer = moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>>;
  const example::TemporaryFolder folder;
  const auto path = HugeCheckpoint::write(folder / "model");
  example::Table table({"step", "ms", "memory beyond before, MB", "of it the file's", "at most"});
  const auto resident = [](const char* what) { return 1e3 * bench::system_gbytes("/proc/self/status", what); };
  std::vector<moe::io::Checkpoint> opened;
  std::vector<Layer> read;
  const auto step = [&](const std::string& name, const auto& work) {
    const double all = resident("VmRSS:"), of_file = resident("RssFile:");
    bench::PeakMemory peak;
    const double seconds = bench::seconds_of(work);
    table.row({name, example::fixed(1e3 * seconds, 1), example::fixed(resident("VmRSS:") - all, 1),
               example::fixed(resident("RssFile:") - of_file, 1), example::fixed(1e3 * peak.gbytes(), 1)});
  };
  step("open", [&] { opened.push_back(moe::io::Checkpoint::open(path)); });
  step("read a layer", [&] { read.push_back(moe::io::read_layer<Layer>(opened.front(), "model.layers.5")); });
  step("read another", [&] { read.push_back(moe::io::read_layer<Layer>(opened.front(), "model.layers.2")); });
  const double gib = static_cast<double>(std::filesystem::file_size(path / "model.safetensors")) / (1 << 30);
  std::cout << "a checkpoint of " << example::fixed(gib, 2) << " GiB in " << opened.front().names().size()
            << " tensors; a layer is " << example::fixed(1e-6 * static_cast<double>(HugeCheckpoint::bytes_of_layer))
            << " MB in BF16, " << example::fixed(2e-6 * static_cast<double>(HugeCheckpoint::bytes_of_layer))
            << " MB in float\n\n"
            << table;
}

}  // namespace checkpoint_bench
