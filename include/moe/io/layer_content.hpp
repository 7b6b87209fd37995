// What a layer is made of, whatever its type: sizes, gate, settings, and its weights by what they are.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/io/dtype.hpp"
#include "moe/io/read_layer.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// What a family must have a place for.
struct LayerContent {
  Index experts = 0;  // the copying ones among them
  Index copying = 0, width = 0, hidden = 0, shared_hidden = 0;
  io::FamilyGate gate = {};
  io::ExpertForm form = {};
  DispatchOptions dispatching = {};
  double output_scale = 1;
  io::DType scalar = io::DType::F32;  // of the numbers
  std::array<bool, io::number_of_parts> parts{};
  std::function<Matrix<double>(io::Part, Index expert)> numbers = {};  // (outputs, inputs)

  bool has(io::Part part) const { return parts[static_cast<std::size_t>(part)]; }
  /// That of the gate; null if it has none.
  const Vector<double>* selection_bias_E() const {
    const auto* const scored = std::get_if<ScoredTopK>(&gate);
    return scored != nullptr && scored->selection_bias_E.size() > 0 ? &scored->selection_bias_E : nullptr;
  }
  /// How many weights the part has, one for each expert or one.
  Index count(io::Part part) const { return io::StoredLayer::is_of_expert(part) ? experts - copying : 1; }
};

/// The layer as it lies in a checkpoint; numbers are read when they are wanted.
inline LayerContent content_of(std::shared_ptr<const io::StoredLayer> stored) {
  LayerContent content{.experts = stored->experts(),
                       .copying = stored->copying_experts(),
                       .width = stored->width(),
                       .hidden = stored->hidden(),
                       .shared_hidden = stored->shared_hidden(),
                       .gate = stored->gate(),
                       .form = stored->form(),
                       .dispatching = stored->dispatching(),
                       .output_scale = stored->output_scale()};
  for (int part = 0; part < io::number_of_parts; ++part)
    content.parts[static_cast<std::size_t>(part)] = stored->has(static_cast<io::Part>(part));
  content.numbers = [stored](io::Part part, Index expert) {
    return stored->weight(part, expert)->matrix<double>(io::Precision::exact);
  };
  return content;
}

/// The weights of a layer in memory, noted in the order of the experts.
template <class S>
class ContentOfLayer {
 public:
  using Part = io::Part;

  /// Throws io::FileError for what no family has a place for. The layer must outlive the content.
  template <class L>
  static LayerContent of(const L& layer) {
    auto noted = std::make_shared<ContentOfLayer>();
    noted->content_.scalar = io::dtype_of<S>();
    noted->note_layer(layer);
    LayerContent content = std::move(noted->content_);
    for (std::size_t part = 0; part < noted->weights_.size(); ++part)
      content.parts[part] = !noted->weights_[part].empty();
    content.parts[index(Part::selection_bias)] = content.selection_bias_E() != nullptr;
    content.numbers = [noted, gate = content.gate](Part part, Index expert) {
      if (part == Part::selection_bias) return Matrix<double>(std::get<ScoredTopK>(gate).selection_bias_E);
      const WeightPlace<const S>& from = noted->weights_[index(part)][static_cast<std::size_t>(expert)];
      return Matrix<double>(Matrix<double>::NullaryExpr(
          from.rows, from.cols, [&](Index i, Index j) { return static_cast<double>(*from.column_of_rows(i, j)); }));
    };
    return content;
  }

 private:
  static constexpr std::size_t index(Part part) { return static_cast<std::size_t>(part); }
  template <class... Parts>
  [[noreturn]] static void fail(const Parts&... parts) {
    fail_io("the layer cannot be written: ", parts...);
  }

  void note(Part part, const S* data, Index rows, Index cols, bool in_panels) {
    if (rows * cols > 0) weights_[index(part)].push_back({data, rows, cols, in_panels});
  }
  void note(Part part, const Weights<S>& weight) { note(part, weight.data(), weight.rows(), weight.cols(), true); }
  void note(Part part, const Matrix<S>& weight) { note(part, weight.data(), weight.rows(), weight.cols(), false); }
  void note(Part part, const Vector<S>& bias) { note(part, bias.data(), bias.size(), 1, false); }

  template <class A>
  void note_form(const A& activation) {
    io::ExpertForm form{.activation = std::string(name_of_activation<A>())};
    if constexpr (std::is_same_v<A, ClampedSilu>) form.clamp = activation;
    if (form.activation.empty()) fail("no family has the activation of its experts");
    const io::ExpertForm& known = content_.form;
    if (has_form_ && (form.activation != known.activation || form.clamp.alpha != known.clamp.alpha ||
                      form.clamp.limit != known.clamp.limit || form.clamp.offset != known.clamp.offset))
      fail("its experts have several activations");
    content_.form = form;
    has_form_ = true;
  }

  // An expert is noted as that of the layer, or as the shared one. Returns whether it has weights.

  template <class X>
  bool note_expert(const X&, bool) {
    fail("no family has experts of this type");
  }
  template <class A>
  bool note_expert(const Glu<S, A>& expert, bool shared) {
    if (expert.multiplier_F.size() > 0) fail("no family has multipliers of hidden units");
    note_form(expert.activation);
    note(shared ? Part::shared_gate : Part::gate, expert.w1_FD);
    note(shared ? Part::shared_up : Part::up, expert.w3_FD);
    note(shared ? Part::shared_down : Part::down, expert.w2_DF);
    if (shared && (expert.b1_F.size() > 0 || expert.b3_F.size() > 0 || expert.b2_D.size() > 0))
      fail("no family has biases of a shared expert");
    note(Part::gate_bias, expert.b1_F);
    note(Part::up_bias, expert.b3_F);
    note(Part::down_bias, expert.b2_D);
    return true;
  }
  template <class A>
  bool note_expert(const Mlp<S, A>& expert, bool shared) {
    note_form(A{});
    note(shared ? Part::shared_up : Part::up, expert.w1_FD);
    note(shared ? Part::shared_down : Part::down, expert.w2_DF);
    if (shared && (expert.b1_F.size() > 0 || expert.b2_D.size() > 0)) fail("no family has biases of a shared expert");
    note(Part::up_bias, expert.b1_F);
    note(Part::down_bias, expert.b2_D);
    return true;
  }
  bool note_expert(const IdentityExpert<S>&, bool shared) {
    if (shared) fail("no family returns the input beside its experts");
    return false;
  }
  bool note_expert(const ZeroExpert<S>&, bool shared) {
    if (!shared) fail("no family has experts that return nothing");
    return false;
  }
  bool note_expert(const ConstantExpert<S>& expert, bool shared) {
    if (!shared) fail("no family has constant experts");
    if (expert.mixes()) fail("no family mixes a constant with the input");
    note(Part::output_bias, expert.value_D);
    return true;
  }
  template <class... Xs>
  bool note_expert(const VariantExpert<S, Xs...>& expert, bool shared) {
    return expert.visit([&](const auto& own, auto) { return note_expert(own, shared); });
  }

  template <class G>
  void note_gate(const G& gate) {
    if constexpr (is_family_gate<G>)
      content_.gate = gate;
    else
      fail("no family has its gate");
  }
  template <class... Gs>
  void note_gate(const VariantGate<S, Gs...>& gate) {
    std::visit([&](const auto& own) { note_gate(own); }, gate.gate);
  }

  void note_mix(const PlainSum&) {}
  void note_mix(const SigmoidMix<S>& mix) {
    if (mix.bias_L.size() > 0) fail("no family has a bias of the shared expert's gate");
    note(Part::shared_mix, mix.weight_LD);
  }
  void note_mix(const io::AnyMix<S>& mix) {
    if (mix.has_sigmoid()) note_mix(mix.sigmoid);
    content_.output_scale = mix.layer_weight;
  }
  template <class M>
  void note_mix(const M&) {
    fail("no family mixes its shared expert in this way");
  }

  template <class L>
  void note_layer(const L&) {
    static_assert(
        !std::is_same_v<L, L>,
        "moe::io::write_layer: what is written is a moe::Layer with a moe::Router, or a moe::Shared around one");
  }
  template <class G, class X, class Ls>
  void note_layer(const Layer<Router<S>, G, X, Ls>& layer) {
    layer.check();
    content_.experts = static_cast<Index>(layer.experts.size());
    content_.width = layer.router.width();
    content_.dispatching = layer.dispatching;
    note(Part::router, layer.router.weight_ED);
    note(Part::router_bias, layer.router.bias_E);
    note_gate(layer.gate);
    for (const auto& expert : layer.experts) {
      const bool computes = note_expert(expert, false);
      if (computes && content_.copying > 0) fail("experts that return their input must be the last ones");
      content_.copying += computes ? 0 : 1;
    }
    const std::size_t count = layer.experts.size() - static_cast<std::size_t>(content_.copying);
    if (count == 0) fail("no expert computes anything");
    for (int part = 0; part < io::number_of_parts; ++part)
      for (const auto& all = weights_[static_cast<std::size_t>(part)]; const auto& weight : all)
        if (all.size() != (io::StoredLayer::is_of_expert(static_cast<Part>(part)) ? count : 1) ||
            weight.rows != all[0].rows || weight.cols != all[0].cols)
          fail("its experts are of several forms or sizes");
    if (weights_[index(Part::up)].empty()) fail("its experts have no hidden units");
    content_.hidden = weights_[index(Part::up)].front().rows;
  }
  template <class L, class X, class M>
  void note_layer(const Shared<L, X, M>& shared) {
    note_layer(shared.layer);
    note_expert(shared.expert, true);
    note_mix(shared.mix);
    const auto& up = weights_[index(Part::shared_up)];
    content_.shared_hidden = up.empty() ? 0 : up.front().rows;
  }

  LayerContent content_;
  bool has_form_ = false;
  std::array<std::vector<WeightPlace<const S>>, io::number_of_parts> weights_;
};

}  // namespace detail

MOE_NAMESPACE_END
