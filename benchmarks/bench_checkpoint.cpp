// How fast is a layer read from a checkpoint whose file is cached? By format: decoding alone, into memory that is
// there; a whole layer, in memory that the program had before; and in new memory, whose pages the system makes first.
// They take turns with reading as many bytes from memory as are moved, the file's and the floats'. Prints a table.
//
//   bench_checkpoint             5 rounds
//   bench_checkpoint --rounds=1  a short look
//   bench_checkpoint --huge      what it costs to open a checkpoint of 3 GiB and to read one of its layers
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <limits>
#include <moe/expert/clamped_swiglu.hpp>
#include <moe/gating/top_k.hpp>
#include <moe/io/read_layer.hpp>
#include <moe/layer/layer.hpp>
#include <moe/router/router.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../examples/support/table.hpp"
#include "../examples/support/temporary_folder.hpp"
#include "checkpoint/files.hpp"
#include "checkpoint/huge.hpp"
#include "support/roofline.hpp"
#include "support/rounds.hpp"

namespace {

using example::fixed;
using moe::Index;
using moe::io::Checkpoint;
using moe::io::DType;

/// Any of the families that are written here.
using Layer = moe::Layer<moe::Router<float>, moe::TopK, moe::ClampedSwiGlu<float>>;

struct Format {
  std::string name;
  std::function<std::filesystem::path(const std::filesystem::path&)> write;  ///< Into a path that is free.
};

std::vector<Format> formats() {
  std::vector<Format> all;
  for (const auto& [name, dtype] : {std::pair{"F32", DType::F32},
                                    {"BF16", DType::BF16},
                                    {"F16", DType::F16},
                                    {"F8_E4M3 with block scales", DType::F8_E4M3}})
    all.push_back({name, [dtype = dtype](const auto& path) { return checkpoint_bench::write_mixtral(path, dtype); }});
  all.push_back({"BF16, inputs first", [](const auto& path) { return checkpoint_bench::write_gpt_oss(path, false); }});
  all.push_back({"mxfp4 of gpt-oss", [](const auto& path) { return checkpoint_bench::write_gpt_oss(path, true); }});
  for (const auto& [name, type] : {std::pair{"Q4_0", 2u},
                                   {"Q4_1", 3u},
                                   {"Q5_0", 6u},
                                   {"Q5_1", 7u},
                                   {"Q8_0", 8u},
                                   {"Q4_K", 12u},
                                   {"Q5_K", 13u},
                                   {"Q6_K", 14u},
                                   {"MXFP4", 39u}})
    all.push_back({std::string("GGUF ") + name,
                   [type = type](const auto& path) { return checkpoint_bench::write_gguf(path, type); }});
  return all;
}

/// Keeps what is freed, so that no page has to be made again by the system; or gives all of it back.
void keep_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}
void give_memory_back() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

/// Reads so many numbers of a large array, by all threads.
void read_memory(const std::vector<float>& memory, std::size_t count) {
  const auto threads = static_cast<std::size_t>(bench::default_threads());
  const std::size_t each = (std::min)(count, memory.size()) / threads / 128 * 128;
  moe::DefaultExecutor{}.parallel_for(static_cast<Index>(threads), [&](Index thread) {
    bench::read_streams(memory.data() + static_cast<std::size_t>(thread) * each, each);
  });
}

/// The tensors of a layer, each once.
std::vector<const moe::io::StoredTensor*> tensors_of(const moe::io::StoredLayer& layer) {
  std::vector<const moe::io::StoredTensor*> tensors;
  for (int part = 0; part < moe::io::number_of_parts; ++part) {
    const auto of = static_cast<moe::io::Part>(part);
    const bool is_of_expert = of >= moe::io::Part::gate && of <= moe::io::Part::down_bias;
    for (Index e = 0; layer.has(of) && e < (is_of_expert ? layer.experts() : 1); ++e) {
      const auto* const tensor = layer.weight(of, e)->tensor.get();
      if (std::ranges::find(tensors, tensor) == tensors.end()) tensors.push_back(tensor);
    }
  }
  return tensors;
}

void measure(const Format& format, int rounds, const std::vector<float>& memory, example::Table& table) {
  const example::TemporaryFolder folder;
  const auto checkpoint = Checkpoint::open(format.write(folder / "model"));
  const std::string name = checkpoint.is_gguf() ? "blk.0" : "model.layers.0";
  const moe::io::StoredLayer stored(checkpoint, name, moe::io::family_of(checkpoint));
  const auto tensors = tensors_of(stored);
  std::uint64_t largest = 0, numbers = 0, bytes = 0;
  for (const auto* const tensor : tensors) {
    largest = (std::max)(largest, tensor->rows() * tensor->cols());
    numbers += tensor->rows() * tensor->cols();
  }
  for (const std::string& used : stored.used()) bytes += checkpoint.tensor(used).bytes;
  std::vector<float> out(static_cast<std::size_t>(largest));
  const std::uint64_t moved = bytes + numbers * sizeof(float);
  const auto seconds = bench::take_turns({[&] { read_memory(memory, static_cast<std::size_t>(moved / sizeof(float))); },
                                          [&] {
                                            for (const auto* const tensor : tensors)
                                              tensor->decode(0, tensor->rows(), out.data(), moe::io::Precision::exact,
                                                             moe::DefaultExecutor{});
                                          },
                                          [&] { moe::io::read_layer<Layer>(stored); },
                                          [&] {
                                            give_memory_back();
                                            moe::io::read_layer<Layer>(stored);
                                          }},
                                         rounds);
  const auto gbytes = [&](std::size_t pass, std::uint64_t of) {
    return fixed(1e-9 * static_cast<double>(of) / bench::median(seconds[pass]), 1);
  };
  const auto share = [&](std::size_t pass) {
    return fixed(100 * bench::median_ratio(seconds[0], seconds[pass])) + " %";
  };
  table.row({format.name, fixed(1e-6 * static_cast<double>(bytes)), gbytes(0, moved), gbytes(1, bytes),
             gbytes(1, moved), share(1), gbytes(2, moved), share(2), gbytes(3, moved), share(3)});
}

int rounds_of(std::string_view text) {
  int rounds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rounds);
  if (error != std::errc() || end != text.data() + text.size() || rounds < 1)
    throw std::invalid_argument("--rounds must be a whole number from 1 on");
  return rounds;
}

}  // namespace

int main(int argc, char** argv) try {
  int rounds = 5;
  for (const std::string_view option : std::vector<std::string_view>(argv + (argc > 0 ? 1 : 0), argv + argc)) {
    if (option == "--huge") return checkpoint_bench::measure_huge(), EXIT_SUCCESS;
    if (!option.starts_with("--rounds=")) throw std::invalid_argument("options are --rounds=5 and --huge");
    rounds = rounds_of(option.substr(9));
  }
  keep_memory();
  const std::vector<float> memory(std::size_t{1} << 27, 1.0f);
  example::Table table({"format", "file, MB", "memory, GB/s", "decoding, file GB/s", "moved GB/s", "share",
                        "layer, moved GB/s", "share", "in new memory", "share"});
  for (const Format& format : formats()) measure(format, rounds, memory, table);
  std::cout << bench::default_threads() << " threads; " << checkpoint_bench::experts << " experts, width "
            << checkpoint_bench::width << ", hidden width " << checkpoint_bench::hidden
            << "; share: of the speed at which memory is read\n\n"
            << table;
  return EXIT_SUCCESS;
} catch (const std::exception& error) {
  std::cerr << "bench_checkpoint: " << error.what() << '\n';
  return EXIT_FAILURE;
}
