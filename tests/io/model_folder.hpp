// A small checkpoint of random numbers that a test writes itself.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "moe/io/checkpoint.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "temporary_folder.hpp"

struct ModelFolder {
  TemporaryFolder folder;
  moe::io::SafetensorsWriter writer;
  std::mt19937_64 rng{7};

  /// The numbers of the new tensor.
  std::vector<float> add(const std::string& name, const std::vector<std::uint64_t>& shape) {
    std::uint64_t count = 1;
    for (const std::uint64_t dimension : shape) count *= dimension;
    std::vector<float> values(static_cast<std::size_t>(count));
    std::normal_distribution<float> normal;
    for (float& value : values) value = normal(rng);
    writer.add(name, moe::io::DType::F32, shape, values);
    return values;
  }

  moe::io::Checkpoint open(const std::string& config) {
    writer.write(folder / "model.safetensors");
    write_file(folder / "config.json", config);
    return moe::io::Checkpoint::open(folder.path());
  }
};
