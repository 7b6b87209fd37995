// The settings of a layer in a family: what they must say, written where they do not, and read back.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/family.hpp"
#include "moe/io/family_settings.hpp"
#include "moe/io/layer_content.hpp"
#include "moe/io/routing_form.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Settings say 1 - scale, which may be rounded.
inline constexpr double output_scale_tolerance = 1e-12;

using SettingValue = std::variant<double, bool, std::string>;

/// What a setting of a family has to say of a layer; nothing where the layer says nothing of it.
inline std::optional<SettingValue> setting_value(const LayerContent& content, const io::Family& family,
                                                 const io::Setting& setting) {
  using io::Key;
  const RoutingForm gate = RoutingForm::of(content.gate);
  const auto number = [](auto value) { return SettingValue(static_cast<double>(value)); };
  const bool is_limited = gate.groups_used < gate.groups;
  switch (setting.key) {
    case Key::experts:
      return number(content.experts - content.copying);
    case Key::copying_experts:
      return number(content.copying);
    case Key::choices:
      return number(gate.k);
    case Key::width:
      return number(content.width);
    case Key::hidden:
      return number(content.hidden);
    case Key::shared_hidden:
      return number(content.shared_hidden);
    case Key::shared_experts:
      return number(content.shared_hidden / content.hidden);
    case Key::activation:
      return SettingValue(content.form.activation);
    case Key::limit:
      return number(content.form.clamp.limit);
    case Key::normalize:
      return SettingValue(gate.normalize);
    case Key::scale:
      return number(gate.scale);
    case Key::scores: {
      const bool is_softmax = gate.kind == RoutingForm::Kind::softmax,
                 is_sigmoid = gate.kind == RoutingForm::Kind::sigmoid;
      if (!family.is_gguf) return SettingValue(is_softmax ? "softmax" : is_sigmoid ? "sigmoid" : "sqrtsoftplus");
      const bool is_of_chosen = is_softmax && gate.normalize && setting.fallback == SettingValue(3.0);
      return number(is_of_chosen ? 3 : is_softmax ? 1 : is_sigmoid ? 2 : 4);
    }
    case Key::method:
      if (setting.fallback) return setting.fallback;
      for (const io::Slot& slot : family.slots)
        if (slot.part == io::Part::selection_bias) return SettingValue("noaux_tc");
      return SettingValue(is_limited ? "group_limited_greedy" : "greedy");
    case Key::groups:
      return number(gate.groups);
    case Key::groups_used:
      return number(gate.groups_used);
    case Key::least_sum:
      return gate.least_sum > 0 ? number(gate.least_sum) : std::optional<SettingValue>();
    case Key::norm:
      return number(gate.norm);
    case Key::band:
      return number(gate.band);
    case Key::capacity:
      if (!content.dispatching.capacity.is_limited(true)) return std::nullopt;
      return number(content.dispatching.capacity.slots(1, 1, 1, true));
    case Key::inference_capacity:
      return std::nullopt;  // a share cannot be told from a capacity
    case Key::output_dropout:
      return number(1 - content.output_scale);
  }
  return std::nullopt;
}

/// Where the settings lack something that the layer has, or say something else: the first difference, empty if there is
/// none.
inline std::string settings_difference(const LayerContent& content, const io::Family& family,
                                       const io::Settings& settings) {
  using io::Key;
  const auto size_difference = [&](Key key, Index wanted) -> std::string {
    const auto stated = settings.integer(key);
    if (!stated || *stated == wanted) return {};
    return joined("setting ", settings.name_of(key), " says ", *stated, ", the layer has ", wanted);
  };
  for (const auto& [key, wanted] :
       {std::pair{Key::experts, content.experts - content.copying}, std::pair{Key::width, content.width},
        std::pair{Key::hidden, content.hidden}, std::pair{Key::shared_hidden, content.shared_hidden}})
    if (std::string text = size_difference(key, wanted); !text.empty()) return text;
  if (content.copying != settings.integer(Key::copying_experts, 0)) return "experts that return their input";
  if (settings.integer(Key::shared_experts)) {
    if (content.shared_hidden % content.hidden != 0)
      return joined("a shared expert of width ", content.shared_hidden, ", not a multiple of ", content.hidden);
    if (std::string text = size_difference(Key::shared_experts, content.shared_hidden / content.hidden); !text.empty())
      return text;
  }
  const auto in_words = [](std::string_view what) { return "its settings cannot say " + std::string(what); };
  const std::string_view of_gate = RoutingForm::of(content.gate).difference(RoutingForm::of(family.gate(settings)));
  if (!of_gate.empty()) return in_words(of_gate) + " of the layer's gate";
  const io::ExpertForm form = form_of(family, settings);
  if (plain_activation(form.activation) != plain_activation(content.form.activation))
    return "the activation '" + content.form.activation + "', it has '" + form.activation + "'";
  const ClampedSilu &own = content.form.clamp, &read = form.clamp;
  if (own.alpha != read.alpha || own.limit != read.limit || own.offset != read.offset)
    return in_words("the clamp of its activation");
  const DispatchOptions options = family.dispatching != nullptr ? family.dispatching(settings) : DispatchOptions();
  if (options.weigh_input != content.dispatching.weigh_input) return in_words("whether weights multiply the input");
  // straight_through and allow_constant_weights are the training's: outputs do not depend on them.
  if (options.renormalize_kept != content.dispatching.renormalize_kept ||
      (options.renormalize_kept && options.renormalize_floor != content.dispatching.renormalize_floor) ||
      options.pass_dropped != content.dispatching.pass_dropped)
    return in_words("what becomes of dropped choices");
  if (options.non_finite != content.dispatching.non_finite)
    return in_words("what becomes of tokens whose logits are not finite");
  if (options.capacity.text() != content.dispatching.capacity.text())
    return in_words("the capacity, " + content.dispatching.capacity.text());
  const double scale = 1 - settings.number(Key::output_dropout, 0);
  if (std::abs(scale - content.output_scale) > output_scale_tolerance) return in_words("the scale of outputs");
  return {};
}

/// Sets a name that may have dots, which go into objects; in a GGUF file's keys they do not. Throws io::FileError for a
/// value on the way that is no object.
inline void set_setting(nlohmann::json& values, std::string_view name, bool is_gguf, nlohmann::json value,
                        std::size_t layer) {
  nlohmann::json* at = &values;
  const auto whole = name;
  for (std::size_t dot; !is_gguf && !at->contains(name) && (dot = name.find('.')) != name.npos;) {
    at = &(*at)[std::string(name.substr(0, dot))];
    name.remove_prefix(dot + 1);
    if (!at->is_null() && !at->is_object())
      fail_io("setting ", in_quotes(whole), " cannot be written: what should hold it is no object");
  }
  nlohmann::json& place = (*at)[std::string(name)];
  if (place.is_array() && layer < place.size())
    place[layer] = std::move(value);
  else
    place = std::move(value);
}

/// Takes out the setting of that name of config.json, of which the dots go into objects.
inline void erase_setting(nlohmann::json& values, std::string_view name) {
  if (!values.is_object()) return;
  values.erase(std::string(name));
  const std::size_t dot = name.find('.');
  const auto inner = values.find(std::string(name.substr(0, dot)));
  if (dot != name.npos && inner != values.end()) erase_setting(*inner, name.substr(dot + 1));
}

/// Changes the settings `values` where they do not say of the layer what they should. `read` makes settings of them.
template <class Read>
void write_settings(const LayerContent& content, const io::Family& family, nlohmann::json& values, const Read& read) {
  for (const io::Setting& setting : family.settings) {
    const auto wanted = setting_value(content, family, setting);
    const io::Settings settings = read();
    const std::vector<std::string> names = settings.names_of(setting.key);
    if (!wanted || names.empty()) continue;
    const auto value = [&](const auto& own) -> nlohmann::json {
      using T = std::decay_t<decltype(own)>;
      constexpr bool is_number = std::is_same_v<T, double>;
      if constexpr (is_number) {
        const auto stated = settings.number(setting.key);
        const double neutral = setting.key == io::Key::scale || setting.key == io::Key::groups ||
                                       setting.key == io::Key::groups_used || setting.key == io::Key::norm
                                   ? 1
                                   : 0;
        const double tolerance = setting.key == io::Key::output_dropout ? output_scale_tolerance : 0;
        if (stated ? *stated == own || std::abs(*stated - own) <= tolerance : own == neutral) return nullptr;
        if (own == std::floor(own) && own >= 0 && setting.key != io::Key::scale) return static_cast<std::uint64_t>(own);
        return own;
      } else if constexpr (std::is_same_v<T, bool>) {
        if (settings.flag(setting.key) == own) return nullptr;
      } else if (settings.text(setting.key) == own) {
        return nullptr;
      }
      return own;
    };
    nlohmann::json json = std::visit(value, *wanted);
    if (!json.is_null())
      set_setting(values, settings.name_to_write(setting.key), family.is_gguf, std::move(json),
                  settings.layer_number());
  }
}

}  // namespace detail

MOE_NAMESPACE_END
