// Losses against a teacher's outputs, for a student whose feed-forward networks have become mixtures (MoEBERT).
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/kernel/row_softmax.hpp"

MOE_NAMESPACE_BEGIN

/// Mean over all entries of (student - teacher)^2, layer by layer (Zuo et al. 2022, MoEBERT, section 3.3).
struct MeanSquaredDistillation {
  template <class Named = void, class Rows, class S = detail::NamedOrOwnScalar<Named, Rows>>
  S value(const Eigen::MatrixBase<Rows>& of_student, detail::GivenRows<S> teacher) const {
    const RowsRef<S> student(of_student);
    check<S>(student, teacher);
    return student.size() > 0 ? (student - teacher).squaredNorm() / static_cast<S>(student.size()) : S(0);
  }

  /// dstudent += scale * d value.
  template <class Named = void, class Rows, class S = detail::NamedOrOwnScalar<Named, Rows>>
  void backward(const Eigen::MatrixBase<Rows>& of_student, detail::GivenRows<S> teacher, std::type_identity_t<S> scale,
                detail::WrittenRows<S> dstudent) const {
    const RowsRef<S> student(of_student);
    check<S>(student, teacher);
    require_shape("distillation: dstudent", dstudent, student.rows(), student.cols());
    if (student.size() > 0) dstudent += (scale * S(2) / static_cast<S>(student.size())) * (student - teacher);
  }

 private:
  template <class S>
  static void check(const ConstMatrixRef<S>& student, const ConstMatrixRef<S>& teacher) {
    require(student.rows() == teacher.rows() && student.cols() == teacher.cols(), "distillation: the student has ",
            student.rows(), " x ", student.cols(), " outputs, the teacher ", teacher.rows(), " x ", teacher.cols());
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
    S sum = 0;
    for_each_row<S>(student, teacher, [&](Index, const Vector<S>& p, const Vector<S>& log_q, const Vector<S>& log_p) {
      const S forward =
          cross_entropy ? divergence<S>(p, Vector<S>::Zero(p.size()), log_q) : divergence<S>(p, log_p, log_q);
      sum += symmetric ? (forward + divergence<S>(log_q.array().exp(), log_q, log_p)) / 2 : forward;
    });
    const S t = static_cast<S>(temperature);
    return student.rows() > 0 ? sum * t * t / static_cast<S>(student.rows()) : S(0);
  }

  /// d KL(p || q) / d student logits = (q - p) / temperature; d KL(q || p) = q (log q - log p - KL(q || p)) /
  /// temperature.
  template <class Named = void, class Rows, class S = detail::NamedOrOwnScalar<Named, Rows>>
  void backward(const Eigen::MatrixBase<Rows>& of_student, detail::GivenRows<S> teacher, std::type_identity_t<S> scale,
                detail::WrittenRows<S> dstudent) const {
    const RowsRef<S> student(of_student);
    require_shape("distillation: dstudent", dstudent, student.rows(), student.cols());
    const S factor = scale * static_cast<S>(temperature) / static_cast<S>((std::max)(student.rows(), Index{1}));
    Vector<S> q, slope;
    for_each_row<S>(student, teacher, [&](Index r, const Vector<S>& p, const Vector<S>& log_q, const Vector<S>& log_p) {
      q = log_q.array().exp();
      slope = q - p;
      if (symmetric) {
        const S reverse = divergence<S>(q, log_q, log_p);
        for (Index c = 0; c < q.size(); ++c)
          slope(c) = (slope(c) + (q(c) > 0 ? q(c) * (log_q(c) - log_p(c) - reverse) : S(0))) / 2;
      }
      dstudent.row(r) += factor * slope.transpose();
    });
  }

 private:
  /// KL(p || q); what p excludes adds nothing.
  template <class S>
  static S divergence(const Vector<S>& p, const Vector<S>& log_p, const Vector<S>& log_q) {
    S sum = 0;
    for (Index c = 0; c < p.size(); ++c)
      if (p(c) > 0) sum += p(c) * (log_p(c) - log_q(c));
    return sum;
  }

  /// Calls f(row, teacher's probabilities, log of the student's, log of the teacher's).
  template <class S, class F>
  void for_each_row(const ConstMatrixRef<S>& student, const ConstMatrixRef<S>& teacher, F&& f) const {
    require(detail::has_finite_bits(temperature) && temperature > 0, "SoftLabelDistillation: temperature is ",
            temperature, ", it must be finite and more than 0");
    require(!symmetric || !cross_entropy,
            "SoftLabelDistillation: symmetric is of divergences, not with "
            "cross_entropy");
    require(student.rows() == teacher.rows() && student.cols() == teacher.cols(), "distillation: the student has ",
            student.rows(), " x ", student.cols(), " outputs, the teacher ", teacher.rows(), " x ", teacher.cols());
    Vector<S> p, log_q, log_p;
    for (Index r = 0; r < student.rows(); ++r) {
      log_p = teacher.row(r).transpose() / static_cast<S>(temperature);
      log_q = student.row(r).transpose() / static_cast<S>(temperature);
      p.resize(log_p.size());
      log_p.array() -= detail::softmax_row(log_p.data(), log_p.size(), p.data()).log();
      Vector<S> q(log_q.size());
      log_q.array() -= detail::softmax_row(log_q.data(), log_q.size(), q.data()).log();
      f(r, p, log_q, log_p);
    }
  }
};

MOE_NAMESPACE_END
