// Saving and loading a model: every parameter and buffer that it shows to a visitor, by name.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "moe/core/parameters.hpp"
#include "moe/io/model_loading.hpp"
#include "moe/io/safetensors_reader.hpp"
#include "moe/io/safetensors_writer.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// f(name, values) for every buffer, then for every parameter. What has buffers alone, such as Random, need not have
/// visit_parameters.
template <class F, class Model>
void for_each_saved(F&& f, Model& model) {
  using M = std::remove_const_t<Model>;
  for_each_buffer(f, model);
  if constexpr (
      requires { M::visit_parameters(f, model); } || !requires { M::visit_buffers(f, model); })
    for_each_parameter(f, model);
}

}  // namespace detail

namespace io {

/// Writes every parameter and buffer of `model` under its name: a matrix with rank 2, a vector with rank 1, in the
/// model's own scalar type, bit for bit. `metadata` is kept in the file as text. A file of that name is replaced as a
/// whole or, on any error (FileError, std::bad_alloc), left as it was.
template <class Model>
void save(const std::filesystem::path& path, const Model& model, std::map<std::string, std::string> metadata = {}) {
  SafetensorsWriter writer;
  writer.metadata = std::move(metadata);
  moe::detail::for_each_saved(
      [&](std::string_view name, const auto& values) { writer.add(std::string(name), moe::detail::as_eigen(values)); },
      model);
  writer.write(path);
}

/// Sets every parameter and buffer of `model` from the file. Names and shapes must agree exactly, also where a
/// transposed or reordered tensor would have as many values; element types must be of the same kind and not wider than
/// the model's; which of its types a VariantExpert or VariantGate holds must be what it was when the file was saved.
/// FileError tells the number of differences and the first twenty. On any error, also std::bad_alloc, the model
/// is unchanged.
template <class Model>
void load(const std::filesystem::path& path, Model& model, LoadOptions options = {}) {
  const Safetensors file = Safetensors::open(path);
  moe::detail::ModelLoading loading(file, options);
  moe::detail::for_each_saved([&](std::string_view name, auto& values) { loading.visit(name, values); }, model);
  loading.require_none();
  loading.set();
}

}  // namespace io

MOE_NAMESPACE_END
