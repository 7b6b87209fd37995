// A GGUF file of any bytes, opened, listed and decoded: there is an error that names what is wrong, or every tensor
// lies within the file and has as many numbers as it says.
#include <cstdint>
#include <string>
#include <vector>

#include "fuzz/bytes.hpp"
#include "moe/io/checkpoint.hpp"

namespace {

using fuzz::expect;
using moe::io::Checkpoint;
using moe::io::Precision;

template <class F>
void attempt(F&& f) {
  try {
    f();
  } catch (const moe::io::FileError&) {
  }
}

/// Every number, row by row and at once, into float and double.
void decode(const moe::io::StoredTensor& tensor, std::uint64_t size) {
  std::vector<float> narrow(static_cast<std::size_t>(size));
  std::vector<double> wide(static_cast<std::size_t>(size)), by_rows(wide.size());
  tensor.decode(0, tensor.rows(), wide.data(), Precision::rounded);
  tensor.decode(0, tensor.rows(), narrow.data(), Precision::rounded);
  for (std::size_t i = 0; tensor.format() != "I64" && i < wide.size(); ++i)  // which would be rounded twice
    expect(fuzz::same(narrow[i], static_cast<float>(wide[i])), "a number is another in double");
  for (std::uint64_t row = 0; size != 0 && row < tensor.rows(); ++row)
    tensor.decode(row, 1, by_rows.data() + row * tensor.cols(), Precision::rounded);
  for (std::size_t i = 0; i < wide.size(); ++i)
    expect(fuzz::same(by_rows[i], wide[i]), "a row alone has other numbers");
}

void read_tensor(const Checkpoint& checkpoint, const std::string& name) {
  const moe::io::CheckpointTensor& info = checkpoint.tensor(name);
  const auto bytes = checkpoint.bytes(name);
  expect(bytes.size() == info.bytes && info.size() == info.rows() * info.cols() &&
             info.bytes * info.format.elements == info.size() * info.format.bytes,
         "a tensor's bytes are not as many as it says");
  unsigned sum = 0;
  for (const std::byte byte : bytes.bytes()) sum += std::to_integer<unsigned>(byte);
  expect(sum <= 255 * bytes.size(), "bytes cannot be touched");
  const moe::io::StoredTensor tensor = checkpoint.stored(name);
  attempt([&] { decode(tensor, info.size()); });
  attempt([&] { (void)tensor.matrix<float>(Precision::exact, moe::Serial{}); });
  attempt([&] { (void)tensor.slice<double>(0, Precision::rounded, moe::Serial{}); });
  attempt([&] { (void)tensor.slice<double>(1, Precision::rounded, moe::Serial{}); });
  attempt([&] { (void)checkpoint.stored(name + "x"); });
}

template <class T>
void get(const moe::io::Configuration& settings, const std::string& name) {
  attempt([&] { (void)settings.get<T>(name); });
  attempt([&] { (void)settings.get<std::vector<T>>(name); });
}

void read_all(const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  (void)to_string(checkpoint.tensor(checkpoint.names().empty() ? "" : checkpoint.names().front()));
  for (const auto& item : checkpoint.configuration().values().items()) {
    expect(checkpoint.configuration().find(item.key()) == &item.value(), "a key is not found");
    get<std::uint16_t>(checkpoint.configuration(), item.key());
    get<std::int64_t>(checkpoint.configuration(), item.key());
    get<float>(checkpoint.configuration(), item.key());
    get<bool>(checkpoint.configuration(), item.key());
    get<std::string>(checkpoint.configuration(), item.key());
  }
  for (const std::string& name : checkpoint.names()) read_tensor(checkpoint, name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::File file("input.gguf");
  file.write(data, size);
  attempt([&] { read_all(file.path()); });
  return 0;
}
