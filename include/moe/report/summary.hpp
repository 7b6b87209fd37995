// A layer in a few lines of text: its parts, their shapes, parameters and bytes. std::cout << layer.
#pragma once

#include <concepts>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"
#include "moe/report/cost.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class Part>
constexpr std::string_view signature_of() {
#if defined(__GNUC__)
  return __PRETTY_FUNCTION__;  // "... [with Part = moe::v0::TopK; ...]", or "... [Part = moe::TopK]"
#else
  return "Part = part";
#endif
}

/// A type as it is written after `using namespace moe`; without run-time type information.
template <class Part>
std::string type_name() {
  std::string_view signature = signature_of<Part>();
  signature.remove_prefix(signature.find("Part = ") + 7);
  std::string name(signature.substr(0, signature.find_first_of(";]")));
  for (const std::string_view own : {"moe::v0::", "moe::"})
    for (std::size_t at = name.find(own); at != std::string::npos; at = name.find(own, at))
      if (at == 0 || std::string_view("<, ").find(name[at - 1]) != std::string_view::npos)
        name.erase(at, own.size());
      else
        at += own.size();
  return name;
}

/// "Linear<float>, weight 3 x 4, bias 3"; what is empty is left out.
template <class Part>
std::string description_of(const Part& part) {
  std::string text;
  if constexpr (requires { part.visit([](const auto&, auto) {}); }) {
    part.visit([&](const auto& own, auto) { text = description_of(own); });
  } else {
    text = type_name<Part>();
    if constexpr (requires {
                    { part.k } -> std::convertible_to<Index>;
                  })
      text += joined(", k = ", Index{part.k});
    if constexpr (NamesParameters<Part>)
      for_each_parameter(
          [&](std::string_view name, const auto& parameter) {
            if (parameter.size() == 0) return;
            text += joined(", ", name, " ", Index{parameter.rows()});
            if (parameter.cols() != 1) text += joined(" x ", Index{parameter.cols()});
          },
          part);
  }
  return text;
}

/// ": 99 parameters (396 bytes)"; nothing where there are none.
template <class Part>
std::string size_text_of(const Part& part) {
  const Cost cost = cost_of_rows(part, 0);
  return cost.parameters > 0 ? joined(": ", cost.parameters, " parameters (", cost.bytes, " bytes)") : "";
}

/// The lines of a part; those after the first begin with `indent`.
template <class Part>
std::string lines_of(const Part& part, const std::string&) {
  return description_of(part) + size_text_of(part) + '\n';
}
template <class R, class G, class X, class L>
std::string lines_of(const Layer<R, G, X, L>& layer, const std::string& indent);
template <class L, class X, class M>
std::string lines_of(const Shared<L, X, M>& shared, const std::string& indent);
template <class S, class X>
std::string lines_of(const SoftLayer<S, X>& layer, const std::string& indent);

/// One entry for neighbours that look alike, and as many as eight entries.
template <class X>
std::string lines_of_list(const std::vector<X>& experts, const std::string& indent) {
  std::string text;
  std::size_t entries = 0;
  for (std::size_t first = 0, next = 0; first < experts.size(); first = next) {
    const std::string one = lines_of(experts[first], indent + "  ");
    if (++entries > 8) return text + indent + joined("and ", experts.size() - first, " more experts\n");
    for (next = first + 1; next < experts.size() && lines_of(experts[next], indent + "  ") == one;) ++next;
    const bool is_alone = next == first + 1;
    text += indent + (is_alone ? joined("expert ", first) : joined("experts ", first, " to ", next - 1, ", each"));
    text += ' ' + one;
  }
  return text;
}

template <class R, class G, class X, class L>
std::string lines_of(const Layer<R, G, X, L>& layer, const std::string& indent) {
  std::string text = joined("Layer of ", layer.experts.size(), " experts") + size_text_of(layer) + '\n';
  text += indent + "router " + lines_of(layer.router, indent);
  text += indent + "gate " + lines_of(layer.gate, indent);
  text += lines_of_list(layer.experts, indent);
  std::apply(
      [&](const auto&... loss) {
        ((text += indent + joined("loss ", std::string_view(loss.name()), ", coefficient ",
                                  static_cast<double>(loss.coefficient), "\n")),
         ...);
      },
      layer.losses.all);
  return text;
}

template <class L, class X, class M>
std::string lines_of(const Shared<L, X, M>& shared, const std::string& indent) {
  std::string text = "Shared" + size_text_of(shared) + '\n';
  text += indent + "layer " + lines_of(shared.layer, indent + "  ");
  text += indent + "expert of every token " + lines_of(shared.expert, indent + "  ");
  if constexpr (Shared<L, X, M>::is_mixed) text += indent + "mix " + lines_of(shared.mix, indent + "  ");
  return text;
}

template <class S, class X>
std::string lines_of(const SoftLayer<S, X>& layer, const std::string& indent) {
  return joined("SoftLayer of ", layer.experts.size(), " experts, ", layer.slots(), " slots of width ",
                Index{layer.slot_PD.cols()}) +
         size_text_of(layer) + '\n' + lines_of_list(layer.experts, indent);
}

}  // namespace detail

/// Its parts, a line each, experts that look alike on one:
///   Layer of 4 experts: 136 parameters (544 bytes)
///     router Router<float>, weight 4 x 3, bias 4: 16 parameters (64 bytes)
///     gate TopK, k = 2
///     experts 0 to 3, each Mlp<float>, w1 5 x 3, w2 3 x 5: 30 parameters (120 bytes)
///     loss router_z, coefficient 0.001
template <class R, class G, class X, class L>
std::ostream& operator<<(std::ostream& out, const Layer<R, G, X, L>& layer) {
  return out << detail::lines_of(layer, "  ");
}
template <class L, class X, class M>
std::ostream& operator<<(std::ostream& out, const Shared<L, X, M>& shared) {
  return out << detail::lines_of(shared, "  ");
}
template <class S, class X>
std::ostream& operator<<(std::ostream& out, const SoftLayer<S, X>& layer) {
  return out << detail::lines_of(layer, "  ");
}

MOE_NAMESPACE_END
