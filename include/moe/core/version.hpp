// The version of the library, and the namespace that carries it: two versions in one program stay apart at link time.
// Every header reads this one before its own first line of C++20, so the language is checked here.
#pragma once

#if (defined(_MSVC_LANG) ? _MSVC_LANG : __cplusplus) <= 201703L
#error "moe needs C++20: compile with -std=c++20"
// Compilers read on after an #error, and would add hundreds of their own; a file that is missing stops them.
#include <moe needs C++20: compile with -std=c++20>
#endif

#define MOE_VERSION_MAJOR 0
#define MOE_VERSION_MINOR 1
#define MOE_VERSION_PATCH 0
/// One number to compare: 10000 * major + 100 * minor + patch.
#define MOE_VERSION (MOE_VERSION_MAJOR * 10000 + MOE_VERSION_MINOR * 100 + MOE_VERSION_PATCH)

/// Every header opens `namespace moe` through this pair; the inline namespace is the ABI tag.
#define MOE_NAMESPACE_BEGIN \
  namespace moe {           \
  inline namespace v0 {
#define MOE_NAMESPACE_END \
  }                       \
  }
