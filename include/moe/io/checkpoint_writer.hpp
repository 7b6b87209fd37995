// Writing checkpoints as other libraries keep them: a folder of safetensors files, or a GGUF file. Bytes are made when
// they are written, so that a model need not fit into memory.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "moe/io/atomic_file.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/gguf_encoding.hpp"
#include "moe/io/safetensors_text.hpp"
#include "moe/io/tensor_source.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

struct WriteOptions {
  std::uint64_t shard_size = 0;  ///< In bytes, of the tensors of a safetensors file; 0: one file. A larger tensor is
                                 ///< alone in its shard.
  std::function<void(std::uint64_t done, std::uint64_t all)> progress = {};  ///< Bytes of tensors.
};

/// Collects tensors and writes them in the order in which they were added.
///   moe::io::CheckpointWriter writer;
///   writer.configuration = {{"model_type", "mixtral"}};
///   writer.add({"lm_head.weight", moe::io::format_of(moe::io::DType::BF16), {V, D}, [&](const auto& sink) { ... }});
///   writer.write_folder("Mixtral-small");
/// Every error is a FileError; on an error of any kind before the first rename the old files stay as they were.
class CheckpointWriter {
 public:
  nlohmann::json configuration = nlohmann::json::object();  ///< config.json of a folder.
  std::vector<GgufKey> gguf_keys = {};                      ///< Of a GGUF file; `general.architecture` first.

  /// Throws FileError for a name that was added before or must not be one, and for a shape that has no size.
  void add(TensorSource tensor) {
    using moe::detail::in_quotes, moe::detail::fail_io;
    if (const auto fault = moe::detail::fault_of_name(tensor.name))
      fail_io("writer: the name of tensor ", in_quotes(tensor.name), " ", *fault);
    moe::detail::bytes_of("writer", tensor);
    if (!names_.insert(tensor.name).second) fail_io("writer: tensor ", in_quotes(tensor.name), " is given twice");
    tensors_.push_back(std::move(tensor));
  }

  const std::vector<TensorSource>& tensors() const& { return tensors_; }

  /// Adds what looks at the written checkpoint before it takes its place, and throws if something is wrong.
  void add_check(std::function<void(const Checkpoint&)> check) { checks_.push_back(std::move(check)); }

  /// Adds the tensors of a layer, all or none of them, and a check.
  void add_layer(std::vector<TensorSource> tensors, std::function<void(const Checkpoint&)> check) {
    const std::size_t before = tensors_.size();
    try {
      for (TensorSource& tensor : tensors) add(std::move(tensor));
      add_check(std::move(check));
    } catch (...) {
      for (; tensors_.size() > before; tensors_.pop_back()) names_.erase(tensors_.back().name);
      throw;
    }
    has_layers_ = true;
  }
  bool has_layers() const { return has_layers_; }

  /// Writes config.json and model.safetensors, or the shards model-00001-of-00003.safetensors, ... and their index,
  /// into the folder, which is made if it is not there. First all files are written beside their places and flushed to
  /// the disk, then they are renamed, the index last: a crash of the machine between the renames can leave new and old
  /// files side by side. Refuses to leave a single file beside shards.
  void write_folder(const std::filesystem::path& folder, const WriteOptions& options = {}) const;

  /// Writes a GGUF file of version 3.
  void write_gguf(const std::filesystem::path& path, const WriteOptions& options = {}) const;

 private:
  using Shard = std::vector<const TensorSource*>;

  std::vector<Shard> shards(std::uint64_t size) const;
  std::function<void(std::uint64_t)> counter(const WriteOptions& options) const;

  std::vector<TensorSource> tensors_;
  std::set<std::string> names_;
  std::vector<std::function<void(const Checkpoint&)>> checks_;
  bool has_layers_ = false;
};

}  // namespace io

namespace detail {

/// A folder that is removed again if it was made here and nothing is left in it.
class MadeFolder {
 public:
  explicit MadeFolder(const std::filesystem::path& path) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) return;
    if (!std::filesystem::create_directory(path, error))
      fail_io(path.string(), ": cannot make this folder: ", error ? error.message() : "something else has its name");
    path_ = path;
  }
  MadeFolder(const MadeFolder&) = delete;
  MadeFolder& operator=(const MadeFolder&) = delete;
  ~MadeFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove(path_, ignored);  // only if it is empty
  }

 private:
  std::filesystem::path path_;
};

inline void write_text(AtomicFile& file, std::string_view text) { file.write(std::as_bytes(std::span(text))); }

/// An indented JSON text. Throws io::FileError for a text that is no UTF-8 and for a number that is not finite.
inline std::string json_text(const std::string& source, const nlohmann::json& json) {
  const std::string text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::ignore);
  if (nlohmann::json::parse(text, nullptr, false) != json) fail_io(source, ": cannot be written as JSON");
  return text + "\n";
}

}  // namespace detail

namespace io {

/// In the order of the tensors; within a shard the widest first if otherwise one were not aligned to its element.
inline std::vector<CheckpointWriter::Shard> CheckpointWriter::shards(std::uint64_t size) const {
  std::vector<Shard> all(1);
  std::uint64_t bytes = 0;
  for (const TensorSource& tensor : tensors_) {
    const std::uint64_t own = moe::detail::bytes_of("writer", tensor);
    if (size > 0 && !all.back().empty() && bytes + own > size) {
      all.emplace_back();
      bytes = 0;
    }
    bytes += own;
    all.back().push_back(&tensor);
  }
  for (Shard& shard : all) {
    std::uint64_t begin = 0;
    const bool is_aligned = std::ranges::all_of(shard, [&](const TensorSource* tensor) {
      const bool fits = begin % tensor->format.bytes == 0;
      begin += moe::detail::bytes_of("writer", *tensor);
      return fits;
    });
    if (!is_aligned)
      std::ranges::stable_sort(shard, std::greater<>(),
                               [](const TensorSource* tensor) { return tensor->format.bytes; });
  }
  return all;
}

inline std::function<void(std::uint64_t)> CheckpointWriter::counter(const WriteOptions& options) const {
  std::uint64_t all = 0;
  for (const TensorSource& tensor : tensors_) all += moe::detail::bytes_of("writer", tensor);
  return [&options, all, done = std::uint64_t{0}](std::uint64_t bytes) mutable {
    done += bytes;
    if (options.progress) options.progress(done, all);
  };
}

inline void CheckpointWriter::write_folder(const std::filesystem::path& folder, const WriteOptions& options) const {
  using moe::detail::AtomicFile, moe::detail::fail_io;
  const std::string single = "model.safetensors", index_name = single + ".index.json";
  const auto parts = shards(options.shard_size);
  const bool is_sharded = options.shard_size > 0;
  const std::string config = moe::detail::json_text((folder / "config.json").string(), configuration);
  if (is_sharded && moe::detail::is_there(folder / single))
    fail_io((folder / single).string(), ": is there, and programs would read it instead of shards; remove it first");
  if (!is_sharded && moe::detail::is_there(folder / index_name))
    fail_io((folder / index_name).string(),
            ": is there, and its shards would stay beside a single file; remove it and them first");
  const moe::detail::MadeFolder made(folder);
  const auto wrote = counter(options);
  nlohmann::json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", nlohmann::json::object()}};
  std::uint64_t total = 0;
  std::deque<AtomicFile> files;
  moe::detail::CheckpointFiles written;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string name = is_sharded ? moe::detail::part_name("model", i, parts.size(), ".safetensors") : single;
    const std::string source = (folder / name).string();
    std::vector<moe::detail::NamedTensor> described;
    for (const TensorSource* tensor : parts[i]) {
      if (!tensor->format.dtype)
        fail_io(source, ": tensor ", moe::detail::in_quotes(tensor->name), ": safetensors has no type ",
                tensor->format.name);
      described.emplace_back(tensor->name, TensorInfo{.dtype = *tensor->format.dtype, .shape = tensor->shape});
      index["weight_map"][tensor->name] = name;
    }
    const std::string text = moe::detail::safetensors_text(source, described, {{"format", "pt"}});
    AtomicFile& file = files.emplace_back(folder / name);
    file.write(std::bit_cast<std::array<std::byte, 8>>(static_cast<std::uint64_t>(text.size())));
    moe::detail::write_text(file, text);
    for (const TensorSource* tensor : parts[i]) {
      moe::detail::write_tensor(source, *tensor, file, wrote);
      total += moe::detail::bytes_of(source, *tensor);
    }
    file.finish();
    moe::detail::add_safetensors(written, file.written());
  }
  written.configuration = {(folder / "config.json").string(), configuration};
  const Checkpoint checkpoint(folder.string(), std::move(written));
  for (const auto& check : checks_) check(checkpoint);
  moe::detail::write_text(files.emplace_back(folder / "config.json"), config);
  if (is_sharded) {
    index["metadata"]["total_size"] = total;
    const auto path = folder / index_name;
    moe::detail::write_text(files.emplace_back(path), moe::detail::json_text(path.string(), index));
  }
  AtomicFile::commit(files);
}

inline void CheckpointWriter::write_gguf(const std::filesystem::path& path, const WriteOptions& options) const {
  const std::string source = path.string();
  const std::string header = moe::detail::gguf_header_bytes(source, gguf_keys, tensors_);
  const std::uint64_t alignment = moe::detail::gguf_alignment(source, gguf_keys);
  const auto wrote = counter(options);
  moe::detail::AtomicFile file(path);
  moe::detail::write_text(file, header);
  for (const TensorSource& tensor : tensors_) {
    moe::detail::write_tensor(source, tensor, file, wrote);
    const std::uint64_t bytes = moe::detail::bytes_of(source, tensor);
    file.write(std::vector<std::byte>(static_cast<std::size_t>((alignment - bytes % alignment) % alignment)));
  }
  moe::detail::CheckpointFiles written;
  moe::detail::add_gguf(written, file.written());
  const Checkpoint checkpoint(source, std::move(written));
  for (const auto& check : checks_) check(checkpoint);
  file.commit();
}

}  // namespace io

MOE_NAMESPACE_END
