// A matrix or vector that keeps its memory when it becomes smaller. Eigen's own allocate anew at every change of size,
// and how many rows an expert gets changes from batch to batch; should that allocation fail, they cannot be destroyed.
#pragma once

#include <new>
#include <utility>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// Used as a `Plain` (Matrix<S>, Vector<S>) is: read, written, resized, assigned to, passed as a Ref. Its contents have
/// no meaning after a change of size, or after std::bad_alloc, which leaves it empty.
template <class Plain>
class Buffer : public Eigen::Map<Plain> {
  using View = Eigen::Map<Plain>;
  using S = typename Plain::Scalar;

 public:
  Buffer() : View(nullptr, 0, Plain::ColsAtCompileTime == 1 ? 1 : 0) {}
  Buffer(const Buffer& other) : Buffer() { *this = other; }
  Buffer(Buffer&& other) noexcept : Buffer() { *this = std::move(other); }

  Buffer& operator=(const Buffer& other) {
    if (this == &other) return *this;
    return *this = static_cast<const View&>(other);
  }

  [[gnu::noinline]] Buffer& operator=(Buffer&& other) noexcept {
    if (this == &other) return *this;
    const Index row_count = other.rows(), column_count = other.cols();
    memory_ = std::exchange(other.memory_, Vector<S>());
    view(row_count, column_count);
    other.view(0, other.cols());
    return *this;
  }

  template <class Derived>
  Buffer& operator=(const Eigen::MatrixBase<Derived>& values) {
    resize(values.rows(), values.cols());
    View::operator=(values);
    return *this;
  }

  [[gnu::noinline]] void resize(Index row_count, Index column_count) {
    const Index size = row_count * column_count;
    if (size > memory_.size()) {
      view(0, column_count);
      memory_ = Vector<S>();
      memory_ = Vector<S>(size);
    }
    view(row_count, column_count);
  }
  void resize(Index size) { resize(size, 1); }

  /// Entries that there is memory for: of the largest size so far.
  Index capacity() const { return memory_.size(); }

 private:
  void view(Index row_count, Index column_count) {
    new (static_cast<View*>(this)) View(memory_.data(), row_count, column_count);  // as Eigen's manual re-seats a Map
  }

  Vector<S> memory_;
};

MOE_NAMESPACE_END
