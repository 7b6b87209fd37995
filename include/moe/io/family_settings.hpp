// The settings of a layer in a checkpoint, by what they mean and not by the names that its family gives them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/visit_parts.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/family.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The text with the first `from` in it replaced.
inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  return at == text.npos ? text : text.replace(at, from.size(), to);
}

}  // namespace detail

namespace io {

/// The settings of one layer of a checkpoint, by what they mean, and its tensors, by what they are.
class Settings {
 public:
  /// `layer` is its name, "model.layers.3", of which the last number counts where the configuration has a list.
  /// Checkpoint and family must outlive it.
  Settings(const Checkpoint& checkpoint, const Family& family, std::string layer)
      : checkpoint_(&checkpoint), family_(&family), layer_(std::move(layer)) {}

  /// The slot of the family in which this layer has the part; nullptr if it has none.
  const Slot* slot(Part part) const {
    for (const Slot& slot : family_->slots)
      if (slot.part == part && checkpoint_->contains(tensor(slot) + slot.marker)) return &slot;
    return nullptr;
  }

  /// The name of its tensor.
  std::string tensor(const Slot& slot, Index expert = 0) const {
    return moe::detail::name_within(layer_, moe::detail::replaced(slot.tensor, "{e}", std::to_string(expert)));
  }

  /// Nothing if the family has no such setting, or neither the checkpoint nor the family a value. Throws FileError if
  /// it is something else.
  std::optional<double> number(Key key) const { return value<double>(key); }
  std::optional<Index> integer(Key key) const { return value<double, Index>(key); }
  std::optional<bool> flag(Key key) const { return value<bool>(key); }
  std::optional<std::string> text(Key key) const { return value<std::string>(key); }

  double number(Key key, double otherwise) const { return number(key).value_or(otherwise); }
  Index integer(Key key, Index otherwise) const { return integer(key).value_or(otherwise); }
  bool flag(Key key, bool otherwise) const { return flag(key).value_or(otherwise); }

  /// Of a setting that must be there.
  Index required(Key key) const {
    if (const auto found = integer(key)) return *found;
    fail("no setting ", name_of(key));
  }

  /// The setting's name in the checkpoint, for messages.
  std::string name_of(Key key) const;

  /// All names that the setting may have, those of models of text and images among them.
  std::vector<std::string> names_of(Key key) const;

  /// The one that the checkpoint has, or else the first, in `text_config` if the checkpoint has that. It must have one.
  std::string name_to_write(Key key) const {
    const Configuration& configuration = checkpoint_->configuration();
    const std::vector<std::string> names = names_of(key);
    for (const std::string& name : names)
      if (configuration.find(name) != nullptr) return name;
    return names.at(!family_->is_gguf && configuration.find("text_config") != nullptr ? 1 : 0);
  }

  /// The last number in the layer's name: its place in a list.
  std::size_t layer_number() const;

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    moe::detail::fail_io(checkpoint_->configuration().source(), ": ", parts...);
  }

 private:
  const Setting* setting(Key key) const {
    for (const Setting& setting : family_->settings)
      if (setting.key == key) return &setting;
    return nullptr;
  }

  template <class T, class Read = T>
  std::optional<Read> value(Key key) const {
    const Configuration& configuration = checkpoint_->configuration();
    for (const std::string& name : names_of(key)) {
      const auto* const found = configuration.find(name);
      if (found == nullptr) continue;
      if (!found->is_array()) return configuration.get<Read>(name);
      const auto list = configuration.require<std::vector<Read>>(name);
      const std::size_t layer = layer_number();
      if (layer >= list.size()) fail("setting ", moe::detail::in_quotes(name), " has no entry for layer ", layer);
      return static_cast<Read>(list[layer]);
    }
    const Setting* const known = setting(key);
    if (known == nullptr || !known->fallback) return std::nullopt;
    if (const T* const fallback = std::get_if<T>(&*known->fallback)) return static_cast<Read>(*fallback);
    return std::nullopt;
  }

  const Checkpoint* checkpoint_;
  const Family* family_;
  std::string layer_;
};

inline std::size_t Settings::layer_number() const {
  const std::size_t end = layer_.find_last_of("0123456789");
  if (end == layer_.npos || end > 1000) return 0;
  std::size_t begin = end;
  while (begin > 0 && layer_[begin - 1] >= '0' && layer_[begin - 1] <= '9') --begin;
  std::size_t number = 0;
  for (std::size_t i = begin; i <= end && number < 100000; ++i)
    number = 10 * number + static_cast<std::size_t>(layer_[i] - '0');
  return number;
}

inline std::vector<std::string> Settings::names_of(Key key) const {
  std::vector<std::string> names;
  const Setting* const known = setting(key);
  if (known == nullptr) return names;
  for (const std::string& pattern : known->names) {
    const std::string name =
        moe::detail::replaced(pattern, "{arch}", checkpoint_->architecture().value_or(family_->name));
    names.push_back(name);
    if (!family_->is_gguf) names.push_back("text_config." + name);
  }
  return names;
}

inline std::string Settings::name_of(Key key) const {
  const std::vector<std::string> names = names_of(key);
  for (const std::string& name : names)
    if (checkpoint_->configuration().find(name) != nullptr) return moe::detail::in_quotes(name);
  return names.empty() ? "of that meaning" : moe::detail::in_quotes(names.front());
}

}  // namespace io

namespace detail {

/// The form of a layer's experts.
inline io::ExpertForm form_of(const io::Family& family, const io::Settings& settings) {
  if (family.form != nullptr) return family.form(settings);
  return {.activation = settings.text(io::Key::activation).value_or("silu")};
}

/// An activation by the one of its names that ExpertForm has.
inline std::string_view plain_activation(std::string_view name) {
  if (name == "swish") return "silu";
  return name == "gelu_new" || name == "gelu_pytorch_tanh" ? "gelu_tanh" : name;
}

}  // namespace detail

MOE_NAMESPACE_END
