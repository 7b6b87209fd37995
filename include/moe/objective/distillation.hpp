// Losses against a teacher's outputs, for a student whose feed-forward networks have become mixtures (MoEBERT).
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
void check_distillation(const ConstMatrixRef<S>& student, const ConstMatrixRef<S>& teacher) {
  require(student.rows() == teacher.rows() && student.cols() == teacher.cols(), "distillation: the student has ",
          student.rows(), " x ", student.cols(), " outputs, the teacher ", teacher.rows(), " x ", teacher.cols());
}

}  // namespace detail

/// Mean over all entries of (student - teacher)^2, layer by layer (Zuo et al. 2022, MoEBERT, section 3.3).
struct MeanSquaredDistillation {
  template <class Named = void, class Rows, class S = detail::NamedOrOwnScalar<Named, Rows>>
  S value(const Eigen::MatrixBase<Rows>& of_student, detail::GivenRows<S> teacher) const {
    const RowsRef<S> student(of_student);
    detail::check_distillation<S>(student, teacher);
    detail::Wide<S> sum = 0;
    for (Index r = 0; r < student.rows(); ++r)
      sum += detail::squared_distance(detail::row_at(student, r), detail::row_at(teacher, r), student.cols());
    return static_cast<S>(sum / static_cast<detail::Wide<S>>((std::max)(student.size(), Index{1})));
  }

  /// dstudent += scale * d(value).
  template <class Named = void, class Rows, class S = detail::NamedOrOwnScalar<Named, Rows>>
  void backward(const Eigen::MatrixBase<Rows>& of_student, detail::GivenRows<S> teacher, std::type_identity_t<S> scale,
                detail::WrittenRows<S> dstudent) const {
    const RowsRef<S> student(of_student);
    detail::check_distillation<S>(student, teacher);
    require_shape("distillation: dstudent", dstudent, student.rows(), student.cols());
    const S factor = scale * S(2) / static_cast<S>((std::max)(student.size(), Index{1}));
    for (Index r = 0; r < student.rows(); ++r)
      detail::add_scaled_difference(factor, detail::row_at(student, r), detail::row_at(teacher, r), student.cols(),
                                    detail::row_at(dstudent, r));
  }
};

/// Mean over rows of temperature^2 KL(softmax(teacher / temperature) || softmax(student / temperature)), of logits
/// (Hinton et al. 2015): the factor keeps the gradient's size as the temperature changes. Or, symmetric, of
/// temperature^2 (KL(teacher || student) + KL(student || teacher)) / 2 (MoEBERT's loss on the logits). Or of
/// temperature^2 times the cross-entropy -sum p_teacher log p_student: the same gradient, and the teacher's entropy
/// more.
struct SoftLabelDistillation {
  double temperature = 1;
  bool symmetric = false;
  bool cross_entropy = false;

  template <class Named = void, class Rows, class S = detail::NamedOrOwnScalar<Named, Rows>>
  S value(const Eigen::MatrixBase<Rows>& of_student, detail::GivenRows<S> teacher) const {
    const RowsRef<S> student(of_student);
    detail::Wide<S> sum = 0;
    for_each_row<S>(student, teacher, [&](Index, const Softened<S>& p, const Softened<S>& q) {
      const S forward = cross_entropy ? divergence(p.share, S(0), p.logarithm, q.logarithm)
                                      : divergence(p.share, S(1), p.logarithm, q.logarithm);
      sum += symmetric ? (forward + divergence(q.share, S(1), q.logarithm, p.logarithm)) / 2 : forward;
    });
    const auto t = static_cast<detail::Wide<S>>(temperature);
    return static_cast<S>(sum * t * t / static_cast<detail::Wide<S>>((std::max)(student.rows(), Index{1})));
  }

  /// dstudent += scale * d(value). d KL(p || q) / d student logits = (q - p) / temperature; d KL(q || p) = q (log q -
  /// log p - KL(q || p)) / temperature.
  template <class Named = void, class Rows, class S = detail::NamedOrOwnScalar<Named, Rows>>
  void backward(const Eigen::MatrixBase<Rows>& of_student, detail::GivenRows<S> teacher, std::type_identity_t<S> scale,
                detail::WrittenRows<S> dstudent) const {
    const RowsRef<S> student(of_student);
    require_shape("distillation: dstudent", dstudent, student.rows(), student.cols());
    const S factor = scale * static_cast<S>(temperature) / static_cast<S>((std::max)(student.rows(), Index{1}));
    for_each_row<S>(student, teacher, [&](Index r, const Softened<S>& p, const Softened<S>& q) {
      const S reverse = symmetric ? divergence(q.share, S(1), q.logarithm, p.logarithm) : S(0);
      S* to = detail::row_at(dstudent, r);
      for (Index c = 0; c < student.cols(); ++c) {
        const S own = q.share.data()[c];
        S slope = own - p.share.data()[c];
        if (symmetric)
          slope = (slope + (own > 0 ? own * (q.logarithm.data()[c] - p.logarithm.data()[c] - reverse) : S(0))) / 2;
        to[c] += factor * slope;
      }
    });
  }

 private:
  /// Probabilities at the temperature, and their logarithms.
  template <class S>
  struct Softened {
    Vector<S> share, logarithm;

    void set(const S* logits, Index classes, S divisor) {
      share.resize(classes), logarithm.resize(classes);
      for (Index c = 0; c < classes; ++c) logarithm.data()[c] = logits[c] / divisor;
      const S log_sum = detail::softmax_row(logarithm.data(), classes, share.data()).log();
      for (Index c = 0; c < classes; ++c) logarithm.data()[c] -= log_sum;
    }
  };

  /// sum p (own * log p - log q): KL(p || q) if `own` is 1, the cross-entropy if it is 0; what p excludes adds nothing.
  template <class S>
  static S divergence(const Vector<S>& p, S own, const Vector<S>& log_p, const Vector<S>& log_q) {
    S sum = 0;
    for (Index c = 0; c < p.size(); ++c)
      if (p.data()[c] > 0) sum += p.data()[c] * (own * log_p.data()[c] - log_q.data()[c]);
    return sum;
  }

  /// Calls f(row, the teacher's, the student's).
  template <class S, class F>
  void for_each_row(const ConstMatrixRef<S>& student, const ConstMatrixRef<S>& teacher, F&& f) const {
    require(detail::has_finite_bits(temperature) && temperature > 0, "SoftLabelDistillation: temperature is ",
            temperature, ", it must be finite and more than 0");
    require(!symmetric || !cross_entropy,
            "SoftLabelDistillation: symmetric is a mean of divergences, it does not go with cross_entropy");
    detail::check_distillation<S>(student, teacher);
    Softened<S> p, q;
    for (Index r = 0; r < student.rows(); ++r) {
      p.set(detail::row_at(teacher, r), student.cols(), static_cast<S>(temperature));
      q.set(detail::row_at(student, r), student.cols(), static_cast<S>(temperature));
      f(r, p, q);
    }
  }
};

MOE_NAMESPACE_END
