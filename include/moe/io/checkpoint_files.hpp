// The files of a checkpoint, opened: their headers are read and agree with each other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "moe/io/checkpoint_tensor.hpp"
#include "moe/io/configuration.hpp"
#include "moe/io/gguf_header.hpp"
#include "moe/io/input_file.hpp"
#include "moe/io/json_file.hpp"
#include "moe/io/safetensors_header.hpp"
#include "moe/io/shard_index.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// What is known of a checkpoint once it is open.
struct CheckpointFiles {
  struct Located {
    io::CheckpointTensor tensor;
    std::shared_ptr<const InputFile> file;
  };

  std::map<std::string, Located, std::less<>> tensors;
  std::vector<std::string> names;                           // in the order of the files
  std::map<std::string, std::string, std::less<>> missing;  // tensors of shards that are not there, and their file
  io::Configuration configuration;
  std::vector<io::GgufKey> keys;  // of a GGUF file, or of the first of split ones
  bool is_gguf = false;

  void add(const std::shared_ptr<const InputFile>& file, io::CheckpointTensor tensor) {
    tensor.file = std::filesystem::path(file->name()).filename().string();
    const auto [place, is_new] = tensors.try_emplace(tensor.name, Located{tensor, file});
    if (!is_new)
      fail_io(file->name(), ": tensor ", in_quotes(tensor.name), " is in ", in_quotes(place->second.tensor.file),
              " too");
    names.push_back(tensor.name);
  }
};

inline bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

inline void add_safetensors(CheckpointFiles& files, const std::filesystem::path& path) {
  const auto file = std::make_shared<const InputFile>(path);
  const SafetensorsHeader header = read_safetensors_header(*file);
  for (const std::string& name : header.names) {
    const io::TensorInfo& info = header.tensors.find(name)->second;
    files.add(file, {.name = name,
                     .format = io::format_of(info.dtype),
                     .shape = info.shape,
                     .begin = header.data_begin + info.begin,
                     .bytes = info.bytes(),
                     .file = {}});
  }
}

/// All shards that the index names and that are there. A tensor that is not in the file that the index says is an
/// error.
inline void add_shards(CheckpointFiles& files, const std::filesystem::path& index_path) {
  const auto index = read_shard_index(index_path);
  std::set<std::string> shards;
  for (const auto& entry : index) shards.insert(entry.second);
  std::set<std::string> absent;
  for (const std::string& shard : shards) {
    const auto path = index_path.parent_path() / shard;
    if (!is_there(path)) {
      absent.insert(shard);
      continue;
    }
    const std::size_t before = files.names.size();
    add_safetensors(files, path);
    for (std::size_t i = before; i < files.names.size(); ++i) {
      const auto found = index.find(files.names[i]);
      if (found == index.end())
        fail_io(path.string(), ": tensor ", in_quotes(files.names[i]), " is not in ", index_path.filename().string());
      if (found->second != shard)
        fail_io(path.string(), ": tensor ", in_quotes(files.names[i]), " is here, ", index_path.filename().string(),
                " says in ", in_quotes(found->second));
    }
  }
  for (const auto& [tensor, shard] : index) {
    if (absent.count(shard) != 0)
      files.missing.emplace(tensor, shard);
    else if (files.tensors.find(tensor) == files.tensors.end())
      fail_io((index_path.parent_path() / shard).string(), ": no tensor ", in_quotes(tensor), ", which ",
              index_path.filename().string(), " says is here");
  }
}

/// Why a folder without safetensors is not read.
[[noreturn]] inline void refuse_folder(const std::filesystem::path& folder) {
  std::set<std::string> pickles, others;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string(), extension = at->path().extension().string();
    if (extension == ".bin" || extension == ".pt" || extension == ".pth" || name.ends_with(".bin.index.json"))
      pickles.insert(name);
    if (extension == ".gguf" || extension == ".safetensors") others.insert(name);
  }
  const std::string path = folder.string();
  if (!others.empty())
    fail_io(path, ": no model.safetensors and no model.safetensors.index.json; to read ", in_quotes(*others.begin()),
            ", open that file");
  if (!pickles.empty())
    fail_io(path, ": its weights are in ", in_quotes(*pickles.begin()),
            ", a pickle, which can run programs and is not read; convert it to safetensors");
  fail_io(path, ": no model.safetensors and no model.safetensors.index.json");
}

inline void add_configuration(CheckpointFiles& files, const std::filesystem::path& path) {
  if (is_there(path)) files.configuration = {path.string(), read_json_file(path)};
}

/// "model-00002-of-00007.gguf": part `number`, counted from 0, of several.
inline std::string part_name(const std::string& stem, std::uint64_t number, std::uint64_t count,
                             const std::string& extension) {
  const auto five_digits = [](std::uint64_t value) {
    const std::string digits = std::to_string(value);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  return stem + "-" + five_digits(number + 1) + "-of-" + five_digits(count) + extension;
}

/// The name of part `number`, counted from 0, of split GGUF files, of which `first` is one; empty if it is not so
/// named.
inline std::string split_name(const std::string& first, std::uint64_t number, std::uint64_t count) {
  for (std::uint64_t part = 0; part < count; ++part) {
    const std::string ending = part_name("", part, count, ".gguf");
    if (first.ends_with(ending))
      return part_name(first.substr(0, first.size() - ending.size()), number, count, ".gguf");
  }
  return {};
}

/// The keys as an object.
inline nlohmann::json object_of(const std::vector<io::GgufKey>& keys) {
  nlohmann::json values = nlohmann::json::object();
  for (const io::GgufKey& key : keys) values[key.name] = key.value;
  return values;
}

/// Adds the tensors of a GGUF file and returns its keys.
inline std::vector<io::GgufKey> add_gguf_part(CheckpointFiles& files, const std::filesystem::path& path) {
  const auto file = std::make_shared<const InputFile>(path);
  GgufHeader header = read_gguf_header(*file);
  for (io::CheckpointTensor& tensor : header.tensors) files.add(file, std::move(tensor));
  return std::move(header.keys);
}

/// A GGUF file, or the first of split ones with the others.
inline void add_gguf(CheckpointFiles& files, const std::filesystem::path& path) {
  files.is_gguf = true;
  files.keys = add_gguf_part(files, path);
  files.configuration = {path.string(), object_of(files.keys)};
  const auto count = files.configuration.get<std::uint16_t>("split.count").value_or(0);
  if (count < 2) return;
  const std::string name = path.filename().string();
  const auto number = files.configuration.require<std::uint16_t>("split.no");
  if (number != 0)
    fail_io(path.string(), ": part ", number + 1, " of ", count, "; open the first, ",
            in_quotes(split_name(name, 0, count)));
  if (split_name(name, 0, count) != name)
    fail_io(path.string(), ": the first of ", count, " parts must be named as such, ...-00001-of-...gguf");
  for (std::uint16_t part = 1; part < count; ++part) {
    const auto other = path.parent_path() / split_name(name, part, count);
    if (!is_there(other)) fail_io(path.string(), ": part ", part + 1, ", ", in_quotes(other.string()), ", is missing");
    const io::Configuration keys{other.string(), object_of(add_gguf_part(files, other))};
    if (keys.get<std::uint16_t>("split.no") != part || keys.get<std::uint16_t>("split.count") != count)
      fail_io(other.string(), ": its keys do not say that it is part ", part + 1, " of ", count);
  }
  const auto total = files.configuration.get<std::uint64_t>("split.tensors.count");
  if (total && *total != files.names.size())
    fail_io(path.string(), ": its parts have ", files.names.size(), " tensors, key 'split.tensors.count' is ", *total);
}

inline bool begins_as_gguf(const std::filesystem::path& path) {
  const InputFile file(path);
  std::string begin((std::min)(std::size_t{4}, static_cast<std::size_t>(file.size())), '\0');
  file.read(0, std::as_writable_bytes(std::span(begin)));
  return begin == gguf_magic;
}

inline CheckpointFiles open_checkpoint_files(const std::filesystem::path& path) {
  CheckpointFiles files;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    add_configuration(files, path / "config.json");
    if (is_there(path / "model.safetensors"))
      add_safetensors(files, path / "model.safetensors");
    else if (is_there(path / "model.safetensors.index.json"))
      add_shards(files, path / "model.safetensors.index.json");
    else
      refuse_folder(path);
  } else if (path.extension() == ".gguf" || begins_as_gguf(path)) {
    add_gguf(files, path);
  } else {
    add_configuration(files, path.parent_path() / "config.json");
    add_safetensors(files, path);
  }
  return files;
}

}  // namespace detail

MOE_NAMESPACE_END
