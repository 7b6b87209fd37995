// Which layers of a checkpoint are Mixture-of-Experts layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/family.hpp"
#include "moe/io/family_settings.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The numbers n for which `text`, with {n} replaced, is one of the checkpoint's names.
inline std::set<std::uint64_t> numbers_in_names(const io::Checkpoint& checkpoint, std::string_view text) {
  std::set<std::uint64_t> numbers;
  const std::size_t at = text.find("{n}");
  if (at == text.npos) return numbers;
  const std::string_view before = text.substr(0, at), after = text.substr(at + 3);
  const auto look_at = [&](std::string_view name) {
    if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after)) return;
    const std::string_view digits = name.substr(before.size(), name.size() - before.size() - after.size());
    if (digits.size() > 9 || digits.find_first_not_of("0123456789") != digits.npos) return;
    if (digits.size() > 1 && digits.front() == '0') return;
    numbers.insert(std::stoull(std::string(digits)));
  };
  for (const std::string& name : checkpoint.names()) look_at(name);
  for (const auto& [name, shard] : checkpoint.missing()) look_at(name);
  return numbers;
}

}  // namespace detail

namespace io {

/// The names of the layers that have a router, "model.layers.3", in order; those of an encoder before a decoder's.
inline std::vector<std::string> layer_names(const Checkpoint& checkpoint, const Family& family) {
  std::vector<std::string> names;
  for (const std::string& layer : family.layers)
    for (const Slot& slot : family.slots)
      if (slot.part == Part::router)
        for (const std::uint64_t n :
             moe::detail::numbers_in_names(checkpoint, moe::detail::name_within(layer, slot.tensor) + slot.marker))
          names.push_back(moe::detail::replaced(layer, "{n}", std::to_string(n)));
  return names;
}

}  // namespace io

MOE_NAMESPACE_END
