// A matrix as the kernels see it: a pointer and three numbers. Eigen's blocks and references would cost every program
// that includes the kernels much more time to compile.
#pragma once

#include <type_traits>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Rows of values, `outerStride()` apart; of View<const S> to read, of View<S> to write. It is made implicitly of any
/// row-major matrix, block, map or reference of Eigen's, which must outlive it.
template <class S>
class View {
 public:
  static constexpr bool IsRowMajor = true;

  View(S* data, Index rows, Index cols, Index stride) : data_(data), rows_(rows), cols_(cols), stride_(stride) {}

  template <class Rows>
  requires(std::remove_cvref_t<Rows>::IsRowMajor != 0) View(Rows&& rows)  // NOLINT
      : View(rows.data(), rows.rows(), rows.cols(), rows.outerStride()) {}

  S* data() const { return data_; }
  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Index outerStride() const { return stride_; }

  S* row(Index i) const { return data_ + i * stride_; }
  S& operator()(Index i, Index j) const { return data_[i * stride_ + j]; }

  View block(Index row, Index col, Index rows, Index cols) const {
    return {data_ + row * stride_ + col, rows, cols, stride_};
  }

 private:
  S* data_;
  Index rows_, cols_, stride_;
};

}  // namespace detail

MOE_NAMESPACE_END
