// The table of families: who keeps Mixture-of-Experts layers how.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/family.hpp"
#include "moe/io/gguf_families.hpp"
#include "moe/io/transformers_families.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// All that are known.
inline const std::vector<Family>& families() {
  static const std::vector<Family> all = [] {
    std::vector<Family> list = transformers_families();
    for (Family& family : gguf_families()) list.push_back(std::move(family));
    return list;
  }();
  return all;
}

/// The family of that name or architecture, in folders and safetensors files or in GGUF files; nullptr if none is
/// known.
inline const Family* find_family(std::string_view name, bool is_gguf = false) {
  for (const Family& family : families())
    if (family.is_gguf == is_gguf && (family.name == name || std::ranges::count(family.architectures, name) > 0))
      return &family;
  return nullptr;
}

/// The family of a checkpoint, by what it says of itself and never by its shapes. Throws FileError if it says nothing,
/// or what is not known.
inline const Family& family_of(const Checkpoint& checkpoint) {
  const auto architecture = checkpoint.architecture();
  if (!architecture)
    moe::detail::fail_io(checkpoint.path(), ": no setting ",
                         checkpoint.is_gguf() ? "'general.architecture'" : "'model_type'",
                         " tells the family; state one");
  if (const Family* const family = find_family(*architecture, checkpoint.is_gguf())) return *family;
  moe::detail::fail_io(checkpoint.path(), ": no family is known for the architecture ",
                       moe::detail::in_quotes(*architecture), "; state one");
}

}  // namespace io

MOE_NAMESPACE_END
