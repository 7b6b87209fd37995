// The cross-entropy of class labels: the usual loss of a task, and the labels' part of a distillation.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"

MOE_NAMESPACE_BEGIN

/// Mean over the labelled rows of -log softmax(logits)_label; a label of -1 is none. 0 if no row has one.
struct CrossEntropyLoss {
  template <class Named = void, class Rows, class S = detail::NamedOrOwnScalar<Named, Rows>>
  S value(const Eigen::MatrixBase<Rows>& logits, std::span<const Index> label_of_row) const {
    const RowsRef<S> logits_TC(logits);
    Vector<S> p(logits_TC.cols());
    detail::Wide<S> sum = 0;
    const Index labelled = for_each_labelled<S>(logits_TC, label_of_row, [&](Index r, Index label) {
      const S* row = detail::row_at(logits_TC, r);
      const auto total = detail::softmax_row(row, logits_TC.cols(), p.data());
      sum += total.shift - row[label] + std::log(total.sum);
    });
    return static_cast<S>(sum / static_cast<detail::Wide<S>>((std::max)(labelled, Index{1})));
  }

  /// dlogits_TC += scale * d(value): (softmax - one at the label) / labelled rows.
  template <class Named = void, class Rows, class S = detail::NamedOrOwnScalar<Named, Rows>>
  void backward(const Eigen::MatrixBase<Rows>& logits, std::span<const Index> label_of_row,
                std::type_identity_t<S> scale, detail::WrittenRows<S> dlogits_TC) const {
    const RowsRef<S> logits_TC(logits);
    require_shape("CrossEntropyLoss: dlogits", dlogits_TC, logits_TC.rows(), logits_TC.cols());
    const Index labelled = for_each_labelled<S>(logits_TC, label_of_row, [](Index, Index) {});
    Vector<S> p(logits_TC.cols());
    for_each_labelled<S>(logits_TC, label_of_row, [&](Index r, Index label) {
      const S share = scale / static_cast<S>(labelled);
      S* dlogits = detail::row_at(dlogits_TC, r);
      detail::softmax_row(detail::row_at(logits_TC, r), p.size(), p.data());
      detail::add_scaled_row(share, p.data(), p.size(), dlogits);
      dlogits[label] -= share;
    });
  }

 private:
  /// Calls f(row, label) for the rows that have labels; returns how many.
  template <class S, class F>
  static Index for_each_labelled(const ConstMatrixRef<S>& logits_TC, std::span<const Index> label_of_row, F&& f) {
    const Index rows = logits_TC.rows(), classes = logits_TC.cols();
    require(static_cast<Index>(label_of_row.size()) == rows, "CrossEntropyLoss: ", label_of_row.size(), " labels for ",
            rows, " rows");
    Index labelled = 0;
    for (Index r = 0; r < rows; ++r) {
      const Index label = label_of_row[static_cast<std::size_t>(r)];
      if (label == -1) continue;
      require(label >= 0 && label < classes, "CrossEntropyLoss: row ", r, " has label ", label, " of ", classes);
      ++labelled;
      f(r, label);
    }
    return labelled;
  }
};

MOE_NAMESPACE_END
