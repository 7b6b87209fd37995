// The name of a type as text, without run-time type information.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "moe/core/core.hpp"

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

/// A type as it is written after `using namespace moe`.
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

}  // namespace detail

MOE_NAMESPACE_END
