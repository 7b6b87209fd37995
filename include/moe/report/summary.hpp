// A model in a few lines of text: its parts, their shapes, parameters and bytes. std::cout << moe::summary(model), or
// << layer.
#pragma once

#include <concepts>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"
#include "moe/report/part_lines.hpp"
#include "moe/report/type_name.hpp"
#include "moe/routing/dispatch_options.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// ", k = 2" of a gate, or of the gate inside it.
template <class Part>
std::string k_of(const Part& part) {
  if constexpr (requires {
                  { part.k } -> std::convertible_to<Index>;
                })
    return joined(", k = ", static_cast<Index>(part.k));
  else if constexpr (requires { part.top_k.k; })
    return k_of(part.top_k);
  else if constexpr (requires { part.gate; })
    return k_of(part.gate);
  else
    return "";
}

/// What a part is called: its type, or what it is as a layer.
template <class Part>
std::string title_of(const Part& part) {
  return type_name<Part>() + k_of(part);
}
template <class R, class G, class X, class L>
std::string title_of(const Layer<R, G, X, L>& layer) {
  return joined("Layer of ", layer.experts.size(), " experts");
}
template <class L, class X, class M>
std::string title_of(const Shared<L, X, M>&) {
  return "Shared";
}
template <class S, class X>
std::string title_of(const SoftLayer<S, X>& layer) {
  return joined("SoftLayer of ", layer.experts.size(), " experts");
}

/// "capacity factor 1.25, pass_dropped": the capacity, and the other options that are not the default.
inline std::string text_of(const DispatchOptions& options) {
  const DispatchOptions usual;
  std::string text = "capacity " + options.capacity.text();
  const auto add = [&](bool is_other, std::string_view words) {
    if (is_other) text += joined(", ", words);
  };
  add(options.renormalize_kept, "renormalize_kept");
  if (options.renormalize_floor != usual.renormalize_floor)
    text += joined(", renormalize_floor ", options.renormalize_floor);
  add(options.allow_constant_weights, "allow_constant_weights");
  add(options.pass_dropped, "pass_dropped");
  add(options.weigh_input, "weigh_input");
  add(options.straight_through, "straight_through");
  add(options.non_finite == NonFinite::zero_row, "non_finite zero_row");
  add(options.non_finite == NonFinite::refuse, "non_finite refuse");
  return text;
}

/// The line of a layer's options.
template <class Part>
std::string dispatching_line_of(const Part&, const std::string&) {
  return "";
}
template <class R, class G, class X, class L>
std::string dispatching_line_of(const Layer<R, G, X, L>& layer, const std::string& indent) {
  return indent + text_of(layer.dispatching) + '\n';
}

/// "loss router_z, coefficient 0.001", a line each, where there are losses.
template <class Part>
std::string loss_lines_of(const Part& part, const std::string& indent) {
  std::string text;
  if constexpr (requires { part.losses.all; })
    std::apply(
        [&](const auto&... loss) {
          ((text += indent + joined("loss ", std::string_view(loss.name()), ", coefficient ",
                                    static_cast<double>(loss.coefficient), "\n")),
           ...);
        },
        part.losses.all);
  return text;
}

/// ": 99 parameters (396 bytes), buffers of 56 bytes"; nothing where there are none.
inline std::string size_text(const Summary& totals) {
  std::string text;
  if (totals.parameters > 0) text += joined(totals.parameters, " parameters (", totals.bytes, " bytes)");
  if (totals.buffers > 0) text += joined(text.empty() ? "" : ", ", "buffers of ", totals.buffer_bytes, " bytes");
  return text.empty() ? text : ": " + text;
}

inline void add(const Summary& part, Summary& totals) {
  totals.parameters += part.parameters, totals.bytes += part.bytes;
  totals.buffers += part.buffers, totals.buffer_bytes += part.buffer_bytes;
}

template <class Part>
std::string lines_of(const Part& part, const std::string& indent, Summary& totals) {
  if constexpr (requires { part.visit([](const auto&, auto) {}); }) {  // one of several types: the one at hand
    std::string text;
    part.visit([&](const auto& own, auto) { text = lines_of(own, indent, totals); });
    return text;
  } else {
    PartLines parts(indent);
    if constexpr (requires { Part::visit_parameters(parts, part); }) Part::visit_parameters(parts, part);
    Summary& own = parts.totals;
    own.buffers = own.buffer_bytes = 0;  // those of its parts are among its own
    for_each_buffer(
        [&](std::string_view, const auto& buffer) {
          own.buffers += buffer.size();
          own.buffer_bytes += buffer.size() * static_cast<Index>(sizeof(*buffer.data()));
        },
        part);
    add(own, totals);
    return title_of(part) + parts.own + size_text(own) + '\n' + parts.lines() + dispatching_line_of(part, indent) +
           loss_lines_of(part, indent);
  }
}

}  // namespace detail

/// Of whatever names its parameters by visit_parameters: a layer, an expert, a struct of layers and matrices. A part
/// that visit_part or visit_list names has lines of its own, a matrix stands behind its owner's name; equal neighbours
/// in a list share a line:
///   Model, head 10 x 3: 166 parameters (664 bytes)
///     moe Layer of 4 experts: 136 parameters (544 bytes)
///       router Router<float>, weight 4 x 3, bias 4: 16 parameters (64 bytes)
///       gate TopK, k = 2
///       experts 0 to 3, each Mlp<float>, w1 5 x 3, w2 3 x 5: 30 parameters (120 bytes)
///       capacity factor 1.25, at inference unlimited
///       loss router_z, coefficient 0.001
template <class Model>
Summary summary(const Model& model) {
  Summary totals;
  totals.text = detail::lines_of(model, "  ", totals);
  return totals;
}

/// Of a list of layers or other parts.
template <class Part>
Summary summary(const std::vector<Part>& list) {
  detail::PartLines parts("  ");
  for (std::size_t i = 0; i < list.size(); ++i) parts.part("part." + std::to_string(i), list[i]);
  Summary totals = parts.totals;
  totals.text = detail::joined("list of ", list.size()) + detail::size_text(totals) + '\n' + parts.lines();
  return totals;
}

/// The summary of a layer.
template <class R, class G, class X, class L>
std::ostream& operator<<(std::ostream& out, const Layer<R, G, X, L>& layer) {
  return out << summary(layer);
}
template <class L, class X, class M>
std::ostream& operator<<(std::ostream& out, const Shared<L, X, M>& shared) {
  return out << summary(shared);
}
template <class S, class X>
std::ostream& operator<<(std::ostream& out, const SoftLayer<S, X>& layer) {
  return out << summary(layer);
}

MOE_NAMESPACE_END
