// A file as it is read back.
#pragma once

#include "moe/io/safetensors_reader.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "temporary_folder.hpp"

inline moe::io::Safetensors written(const TemporaryFolder& folder, const moe::io::SafetensorsWriter& writer) {
  writer.write(folder / "file.safetensors");
  return moe::io::Safetensors::open(folder / "file.safetensors");
}
