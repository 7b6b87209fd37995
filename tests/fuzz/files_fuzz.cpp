// A safetensors file of any bytes, read tensor by tensor and loaded into a model: there is an error that names what is
// wrong, and the model is as it was; or the model is the file's, and a file of it says the same again.
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

#include "fuzz/bytes.hpp"
#include "moe/expert/linear.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/expert/zero_computation.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/io/model_file.hpp"
#include "moe/layer/layer.hpp"
#include "moe/optim/adamw.hpp"
#include "moe/router/router.hpp"

namespace {

using fuzz::expect;

template <class F>
void attempt(F&& f) {
  try {
    f();
  } catch (const moe::io::FileError&) {
  }
}

/// Whatever may be asked of a file.
void read_all(const std::string& path) {
  const moe::io::Safetensors file = moe::io::Safetensors::open(path);
  for (const std::string& name : file.names()) {
    const moe::io::TensorInfo& info = file.tensor(name);
    expect(file.contains(name) && file.bytes(name).size() == info.bytes(),
           "a tensor's bytes are not as many as it says");
    attempt([&] { (void)file.values<double>(name); });
    attempt([&] { (void)file.values<float>(name, moe::io::Precision::rounded); });
    attempt([&] { (void)file.values<std::int8_t>(name); });
    attempt([&] { (void)file.matrix<double>(name); });
    attempt([&] { (void)file.matrix<Eigen::bfloat16>(name, moe::io::Precision::rounded); });
    attempt([&] { (void)file.vector<float>(name); });
    attempt([&] { (void)file.slice<double>(name, 0); });
    attempt([&] { (void)file.slice<float>(name, 1, moe::io::Precision::rounded); });
  }
  attempt([&] { (void)file.tensor("no such tensor"); });
}

template <class Model>
void load_any(const std::string& path, Model model, moe::io::LoadOptions options) {
  const std::vector<double> before = fuzz::state_of(model);
  try {
    moe::io::load(path, model, options);
  } catch (const moe::io::FileError&) {
    expect(fuzz::same_state(fuzz::state_of(model), before), "a file was refused, and the model is another");
    return;
  }
  const fuzz::File first("first"), second("second");
  moe::io::save(first.path(), model);
  Model again = model;
  moe::set_zero(again);
  moe::io::load(first.path(), again);
  expect(fuzz::same_state(fuzz::state_of(again), fuzz::state_of(model)), "a model is not what it was saved as");
  moe::io::save(second.path(), again);
  expect(first.read() == second.read(), "the same model makes two files");
}

template <class S>
auto layer() {
  std::mt19937_64 rng{1};
  using Any = moe::VariantExpert<S, moe::Linear<S>, moe::ConstantExpert<S>>;
  auto router = moe::Router<S>::random(2, 1, rng);
  router.bias_E.setOnes(2);
  return moe::Layer{router,
                    moe::ScoredTopK{.k = 1,
                                    .scores = moe::Scores::sigmoid({.normalize = false}),
                                    .selection_bias_E = moe::Vector<double>::Ones(2)},
                    std::vector<Any>{moe::Linear<S>::random(1, 1, rng), moe::ConstantExpert<S>::random(1, rng)}};
}

}  // namespace

/// The first byte says which model, and how it is loaded; the rest is the file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes in(data, size);
  const std::uint8_t mode = in.byte();
  const fuzz::File file("input");
  file.write(in.rest(), in.left());
  attempt([&] { read_all(file.path()); });
  const moe::io::LoadOptions options{
      .precision = (mode & 1) != 0 ? moe::io::Precision::rounded : moe::io::Precision::exact,
      .ignore_extra = (mode & 2) != 0};
  if ((mode & 4) == 0)
    load_any(file.path(), layer<float>(), options);
  else if ((mode & 8) == 0)
    load_any(file.path(), layer<double>(), options);
  else
    load_any(file.path(), moe::Linear<float>{moe::Matrix<float>::Ones(2, 2)}, options);
  return 0;
}
