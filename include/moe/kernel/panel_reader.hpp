// How kernels read a weight, whatever its storage: as panels of plain numbers, at full width.
//
// A storage W has a Scalar S, in which it is computed, rows() (outputs), cols() (inputs) and panels(), and either
//   const S* panel(p) const                        where panel p lies, (cols(), width_of_panel(p)) numbers, and
//   Index width_of_panel(p) const                  panel_width, or less for the last panel (moe/core/weights.hpp);
// or, for numbers that are kept in another form,
//   void decode_panel(p, k, depth, S* out) const   out (depth, panel_width) = the weights of outputs p * panel_width on
//                                                  for inputs k, ..., k + depth - 1; zeros where there is no output.
// A storage that lies as panels of S is read where it lies. Others are decoded into scratch.
#pragma once

#include <algorithm>
#include <concepts>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class W>
concept LiesInPanels = requires(const W w, Index p) {
  { w.panel(p) } -> std::same_as<const typename W::Scalar*>;
  { w.width_of_panel(p) } -> std::same_as<Index>;
};

/// `count` panels one after the other, each (depth, panel_width) numbers, `stride` apart; the last one may lie
/// elsewhere.
template <class S>
struct PanelRun {
  const S* first = nullptr;
  Index stride = 0, count = 0;
  const S* last = nullptr;

  static PanelRun even_run(const S* first, Index stride, Index count) {
    return {first, stride, count, first + (count - 1) * stride};
  }

  const S* operator()(Index i) const { return i + 1 == count ? last : first + i * stride; }
  /// Of the panels from the first one on, how many are `stride` apart.
  Index even() const { return last == first + (count - 1) * stride ? count : count - 1; }
};

/// The panels before `end` of a weight, inputs k, ..., k + depth - 1.
template <class W>
class PanelReader {
  using S = typename W::Scalar;

 public:
  PanelReader() = default;
  /// `scratch` is for `size` numbers, panel_width * depth at least, and outlives this.
  PanelReader(const W& w, Index end, Index k, Index depth, S* scratch, Index size)
      : w_(&w), k_(k), depth_(depth), scratch_(scratch), at_once_(size / (std::max)(panel_width * depth, Index{1})) {
    if constexpr (LiesInPanels<W>)
      if (end == w.panels() && w.rows() % panel_width != 0) widen(end - 1);
  }

  /// Panels from p on, `end` excluded: as many as lie in memory, or can be decoded at once. The ones before may be
  /// gone.
  PanelRun<S> run(Index p, Index end) {
    if constexpr (LiesInPanels<W>) {
      const Index stride = w_->cols() * panel_width;
      const S* const first = p == narrow_ ? scratch_ : w_->panel(p) + k_ * panel_width;
      return {first, stride, end - p, end - 1 == narrow_ ? scratch_ : first + (end - 1 - p) * stride};
    } else {
      const Index stride = depth_ * panel_width, count = (std::min)(end - p, at_once_);
      for (Index i = 0; i < count; ++i) w_->decode_panel(p + i, k_, depth_, scratch_ + i * stride);
      return PanelRun<S>::even_run(scratch_, stride, count);
    }
  }

 private:
  /// The last panel, which is narrower, with zeros to its right.
  void widen(Index p) {
    narrow_ = p;
    const Index width = w_->width_of_panel(p);
    S* to = scratch_;
    for (Index i = k_; i < k_ + depth_; ++i, to += panel_width)
      std::fill(std::copy_n(w_->panel(p) + i * width, width, to), to + panel_width, S(0));
  }

  const W* w_ = nullptr;
  Index k_ = 0, depth_ = 0, narrow_ = -1;
  S* scratch_ = nullptr;
  Index at_once_ = 0;
};

}  // namespace detail

MOE_NAMESPACE_END
