// What loading a model compares before it sets anything: names, shapes and element types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/core/parameters.hpp"
#include "moe/io/safetensors_reader.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

struct LoadOptions {
  Precision precision = Precision::exact;  ///< rounded: F64 in the file may become float in the model
  bool ignore_extra = false;               ///< tensors in the file that the model does not have are no error
  /// Parameters, buffers and parts by name ("gate.tables", "steps", "head") that keep the model's values, whether
  /// the file has them or not: for files that lack them, or whose values suit another use.
  std::vector<std::string> keep = {};
};

}  // namespace io

namespace detail {

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

/// Compares the tensors of a file with those of a model, keeps what differs, and has the values ready to be set.
class ModelLoading {
 public:
  ModelLoading(const io::Safetensors& file, const io::LoadOptions& options) : file_(file), options_(options) {}

  template <class Values>
  void visit(std::string_view name, Values& values) {
    using Pointed = std::remove_pointer_t<decltype(values.data())>;
    using S = std::remove_const_t<Pointed>;
    if (!seen_.emplace(name).second) return note(name, "named twice in the model");
    if (is_kept(name)) return;
    const io::TensorInfo expected = expected_info(as_eigen(values));
    if (!file_.contains(name)) return note(name, "missing in the file, ", to_string(expected), " in the model");
    const io::TensorInfo& found = file_.tensor(name);
    if (!agree<S>(name, found, expected)) return;
    constexpr bool is_fixed = std::is_const_v<Pointed>;
    if (count_ > 0 && !is_fixed) return;
    Matrix<S> read = file_.matrix<S>(name, options_.precision);
    read.resize(values.rows(), values.cols());  // a row vector, read as (n, 1)
    if constexpr (!is_fixed)
      prepare(values, std::move(read));
    else if (read != Matrix<S>(values))
      note(name, read(0), " in the file, ", values(0), " in the model, and a file cannot change it");
  }

  /// Throws io::FileError with a line for each of the first differences.
  void require_none() {
    for (std::size_t i = 0; i < options_.keep.size(); ++i)
      if (!is_used_[i]) note(options_.keep[i], "named by LoadOptions::keep, and not in the model");
    if (!options_.ignore_extra)
      for (const std::string& name : file_.names())
        if (!seen_.count(name) && !is_kept(name))
          note(name, "not in the model, ", to_string(file_.tensor(name)), " in the file");
    if (count_ != 0)
      fail_io(file_.path(), " does not fit the model, mismatches: ", count_,
              count_ > most_lines ? ", of which the first " + std::to_string(most_lines) + " are" : "", lines_);
  }

  /// Sets all values. Nothing here allocates, so that it cannot stop half way.
  void set() {
    for (auto& set_one : setters_) set_one();
  }

 private:
  static constexpr std::size_t most_lines = 20;

  template <class S>
  bool agree(std::string_view name, const io::TensorInfo& found, const io::TensorInfo& expected) {
    const std::size_t before = count_;
    if (found.shape != expected.shape)
      note(name, to_string(found), " in the file, ", to_string(expected), " in the model");
    const auto conversion = io::conversion_to<S>(found.dtype);
    const bool rounds = conversion == io::Conversion::rounds;
    // Float from integer is refused even where exact: no writer of a model makes such a file on purpose.
    const bool fits = is_float_scalar<S> == is_float_dtype(found.dtype) &&
                      (conversion == io::Conversion::exact || (rounds && options_.precision == io::Precision::rounded));
    if (!fits)
      note(name, io::dtype_name(found.dtype), " in the file, ", io::dtype_name(expected.dtype), " in the model",
           rounds ? " (would round; Precision::rounded allows it)" : "");
    return count_ == before;
  }

  static bool is_float_dtype(io::DType dtype) {
    bool result = false;
    with_dtype(dtype, [&]<class From>(From) { result = is_float_scalar<From>; });
    return result;
  }

  bool is_kept(std::string_view name) {
    bool kept = false;
    for (std::size_t i = 0; i < options_.keep.size(); ++i)
      if (covers(options_.keep[i], name)) kept = is_used_[i] = true;
    return kept;
  }

  /// An Eigen view may be gone after the visit; what it shows is not.
  template <class Values, class S>
  void prepare(Values& values, Matrix<S> read) {
    constexpr bool is_view = requires { values.derived(); }
    &&!std::is_base_of_v<Eigen::PlainObjectBase<Values>, Values>;
    if constexpr (is_view)
      setters_.push_back([view = values, from = std::move(read)]() mutable { view = from; });
    else if constexpr (requires { values = read; })
      setters_.push_back([&values, from = std::move(read)] { values = from; });
    else
      setters_.push_back([view = as_eigen(values), from = std::move(read)]() mutable { view = from; });
  }

  template <class... Parts>
  void note(std::string_view name, const Parts&... parts) {
    if (++count_ > most_lines) return;
    lines_ += joined("\n  ", in_quotes(name), ": ", parts...);
  }

  const io::Safetensors& file_;
  const io::LoadOptions& options_;
  std::vector<bool> is_used_ = std::vector<bool>(options_.keep.size());
  std::set<std::string, std::less<>> seen_;
  std::string lines_;
  std::size_t count_ = 0;
  std::vector<std::function<void()>> setters_;
};

}  // namespace detail

MOE_NAMESPACE_END
