// Saving and loading a model: every parameter and buffer that it shows to a visitor, by name.
#pragma once

#include <any>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/io/safetensors_reader.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "moe/parameters.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

struct LoadOptions {
  bool allow_lossy = false;   ///< lets a narrower floating-point type round: F64 in the file, float in the model
  bool ignore_extra = false;  ///< tensors in the file that the model does not have are no error
};

}  // namespace io

namespace detail {

/// f(name, values) for every parameter, then for every buffer.
template <class F, class Model>
void for_each_saved(F&& f, Model& model) {
  for_each_parameter(f, model);
  for_each_buffer(f, model);
}

/// The values of a parameter as an Eigen object: an Eigen matrix or vector itself, the plain matrix of what keeps its
/// own order, or the row-major values of anything else that has data(), rows(), cols() and size().
template <class Parameter>
decltype(auto) as_eigen(Parameter& parameter) {
  if constexpr (requires { parameter.derived(); }) {
    return (parameter);
  } else if constexpr (requires { parameter.matrix(); }) {
    return parameter.matrix();
  } else {
    using Pointed = std::remove_pointer_t<decltype(parameter.data())>;
    using Plain = Matrix<std::remove_const_t<Pointed>>;
    require(parameter.size() == parameter.rows() * parameter.cols(), "io: a parameter of ", parameter.size(),
            " values is not ", parameter.rows(), " x ", parameter.cols());
    return Eigen::Map<std::conditional_t<std::is_const_v<Pointed>, const Plain, Plain>>(
        parameter.data(), parameter.rows(), parameter.cols());
  }
}

template <class Parameter>
using ScalarOf = std::remove_cvref_t<decltype(*std::declval<Parameter&>().data())>;

/// What the file must hold for a matrix (rank 2) or a vector (rank 1).
template <class Derived>
io::TensorInfo expected_info(const Eigen::DenseBase<Derived>& values) {
  io::TensorInfo info;
  info.dtype = io::dtype_of<typename Derived::Scalar>();
  if constexpr (Derived::IsVectorAtCompileTime)
    info.shape = {static_cast<std::uint64_t>(values.size())};
  else
    info.shape = {static_cast<std::uint64_t>(values.rows()), static_cast<std::uint64_t>(values.cols())};
  return info;
}

/// Compares the tensors of a file with those of a model and keeps everything that differs.
class ModelComparison {
 public:
  ModelComparison(const io::Safetensors& file, io::LoadOptions options) : file_(file), options_(options) {}

  template <class S>
  void expect(std::string_view name, const io::TensorInfo& expected) {
    if (!seen_.emplace(name).second) return note(name, "named twice in the model");
    if (!file_.contains(name)) return note(name, "missing in the file, ", to_string(expected), " in the model");
    const io::TensorInfo& found = file_.tensor(name);
    if (found.shape != expected.shape)
      note(name, to_string(found), " in the file, ", to_string(expected), " in the model");
    const auto conversion = io::conversion_to<S>(found.dtype);
    const bool rounds = conversion == io::Conversion::rounds;
    // Float from integer is refused even where exact: no writer of a model makes such a file on purpose.
    const bool fits = is_float_scalar<S> == is_float_dtype(found.dtype) &&
                      (conversion == io::Conversion::exact || (rounds && options_.allow_lossy));
    if (!fits)
      note(name, io::dtype_name(found.dtype), " in the file, ", io::dtype_name(expected.dtype), " in the model",
           rounds ? " (would round; LoadOptions::allow_lossy allows it)" : "");
  }

  /// Throws io::SafetensorsError with one line for each difference.
  void require_none() {
    if (!options_.ignore_extra)
      for (const std::string& name : file_.names())
        if (!seen_.count(name)) note(name, "not in the model, ", to_string(file_.tensor(name)), " in the file");
    if (count_ != 0) fail_io(file_.path(), " does not fit the model, mismatches: ", count_, lines_);
  }

 private:
  static bool is_float_dtype(io::DType dtype) {
    bool result = false;
    with_dtype(dtype, [&]<class From>(From) { result = is_float_scalar<From>; });
    return result;
  }
  template <class... Parts>
  void note(std::string_view name, const Parts&... parts) {
    lines_ += "\n  " + in_quotes(name) + ": ";
    (append(lines_, parts), ...);
    ++count_;
  }

  const io::Safetensors& file_;
  io::LoadOptions options_;
  std::set<std::string, std::less<>> seen_;
  std::string lines_;
  std::size_t count_ = 0;
};

}  // namespace detail

namespace io {

/// Writes every parameter and buffer of `model` under its name: a matrix with rank 2, a vector with rank 1, in the
/// model's own scalar type, bit for bit. `metadata` is kept in the file as text. A file of that name is replaced as a
/// whole or, on any error (SafetensorsError), left as it was.
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
/// the model's. All differences are listed in one SafetensorsError, and on any error the model is unchanged.
template <class Model>
void load(const std::filesystem::path& path, Model& model, LoadOptions options = {}) {
  const Safetensors file = Safetensors::open(path);
  moe::detail::ModelComparison comparison(file, options);
  moe::detail::for_each_saved(
      [&](std::string_view name, const auto& values) {
        comparison.expect<moe::detail::ScalarOf<decltype(values)>>(
            name, moe::detail::expected_info(moe::detail::as_eigen(values)));
      },
      model);
  comparison.require_none();

  // Whatever may fail, reading and allocating, comes before the first value is set.
  std::vector<std::any> staged;
  moe::detail::for_each_saved(
      [&](std::string_view name, const auto& values) {
        auto plain = file.matrix<moe::detail::ScalarOf<decltype(values)>>(name, Precision::rounded);
        plain.resize(values.rows(), values.cols());  // a row vector, read as (n, 1)
        staged.emplace_back(std::move(plain));
      },
      model);
  std::size_t next = 0;
  moe::detail::for_each_saved(
      [&](std::string_view, auto& values) {
        const auto& plain = *std::any_cast<Matrix<moe::detail::ScalarOf<decltype(values)>>>(&staged[next++]);
        if constexpr (requires { values = plain; }) {
          values = plain;
        } else {
          moe::detail::as_eigen(values) = plain;
        }
      },
      model);
}

}  // namespace io

MOE_NAMESPACE_END
