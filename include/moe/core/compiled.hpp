// With the library moe::compiled (CMake option MOE_COMPILED) the functions that its headers list are in it for float
// and double, and a program compiles them no more. Without it this header does nothing.
#pragma once

#include "moe/core/version.hpp"

#ifdef MOE_COMPILED

// Code of several instruction sets in one program is an error that corrupts memory: Eigen aligns by them. So each
// source that uses the library refers to a name of its instruction set, which the library has for its own alone. With
// and without -ffast-math the same sources compute other bits: that is in a second name.
#if defined(__AVX512F__)
#define MOE_DETAIL_INSTRUCTION_SET compiled_with_avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define MOE_DETAIL_INSTRUCTION_SET compiled_with_avx2_and_fma
#elif defined(__AVX2__)
#define MOE_DETAIL_INSTRUCTION_SET compiled_with_avx2
#elif defined(__AVX__) && defined(__FMA__)
#define MOE_DETAIL_INSTRUCTION_SET compiled_with_avx_and_fma
#elif defined(__AVX__)
#define MOE_DETAIL_INSTRUCTION_SET compiled_with_avx
#elif defined(__SSE4_2__)
#define MOE_DETAIL_INSTRUCTION_SET compiled_with_sse4
#else
#define MOE_DETAIL_INSTRUCTION_SET compiled_without_march
#endif
#if defined(__FAST_MATH__)
#define MOE_DETAIL_MATHEMATICS compiled_with_fast_math
#else
#define MOE_DETAIL_MATHEMATICS compiled_with_exact_math
#endif

MOE_NAMESPACE_BEGIN
namespace detail {
extern const char MOE_DETAIL_INSTRUCTION_SET, MOE_DETAIL_MATHEMATICS;
#ifdef MOE_DETAIL_COMPILES_THE_LIBRARY
const char MOE_DETAIL_INSTRUCTION_SET = 0, MOE_DETAIL_MATHEMATICS = 0;
#else
#if defined(__GNUC__)
[[gnu::used]]
#endif
static const char* const library_of_the_same_flags[] = {&MOE_DETAIL_INSTRUCTION_SET, &MOE_DETAIL_MATHEMATICS};
#endif
}  // namespace detail
MOE_NAMESPACE_END

/// What stands before a function in a header's list.
#ifdef MOE_DETAIL_COMPILES_THE_LIBRARY
#define MOE_DETAIL_INSTANCE template
#else
#define MOE_DETAIL_INSTANCE extern template
#endif

#endif
