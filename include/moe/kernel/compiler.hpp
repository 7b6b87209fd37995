// Hints to the compiler beyond C++: they change speed and nothing else.
#pragma once

#include <cstdint>

#include "moe/core/version.hpp"

/// UNROLL unrolls the loop that follows, whose bounds are constants: arrays of packets become registers. ROLLED keeps
/// it a loop.
#if defined(__clang__)
#define MOE_DETAIL_UNROLL _Pragma("clang loop unroll(full)")
#define MOE_DETAIL_ROLLED _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)
#define MOE_DETAIL_UNROLL _Pragma("GCC unroll 32")
#define MOE_DETAIL_ROLLED _Pragma("GCC unroll 1")
#else
#define MOE_DETAIL_UNROLL
#define MOE_DETAIL_ROLLED
#endif

/// Keeps a packet in a register: the compiler might otherwise load it again for each of its uses.
#if defined(__GNUC__) && defined(__AVX512F__)
#define MOE_DETAIL_PIN(packet) asm("" : "+v"(packet))
#elif defined(__GNUC__) && defined(__SSE__)
#define MOE_DETAIL_PIN(packet) asm("" : "+x"(packet))
#else
#define MOE_DETAIL_PIN(packet) static_cast<void>(packet)
#endif

/// Keeps the compiler from knowing what a pointer points to: what is loaded by it in a loop is loaded again and again,
/// and not kept in the registers that the loop needs.
#if defined(__GNUC__)
#define MOE_DETAIL_FORGET(pointer) asm("" : "+r"(pointer))
#else
#define MOE_DETAIL_FORGET(pointer) static_cast<void>(pointer)
#endif

/// Prefetches the cache line at address + bytes into the first-level cache; _FAR: into the second-level one. The line
/// may lie past the end of an array, or not exist: no pointer to it is formed.
#if defined(__GNUC__)
#define MOE_DETAIL_LINE_AT(address, bytes) \
  reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(address) + (bytes))
#define MOE_DETAIL_PREFETCH(address, bytes) __builtin_prefetch(MOE_DETAIL_LINE_AT(address, bytes), 0, 3)
#define MOE_DETAIL_PREFETCH_FAR(address, bytes) __builtin_prefetch(MOE_DETAIL_LINE_AT(address, bytes), 0, 2)
#else
#define MOE_DETAIL_PREFETCH(address, bytes) (static_cast<void>(address), static_cast<void>(bytes))
#define MOE_DETAIL_PREFETCH_FAR(address, bytes) (static_cast<void>(address), static_cast<void>(bytes))
#endif

/// Prefetches the cache line at `address`, which is about to be written: a store that waits for its line holds up those
/// behind it.
#if defined(__GNUC__)
#define MOE_DETAIL_PREFETCH_FOR_WRITING(address) __builtin_prefetch(address, 1, 3)
#else
#define MOE_DETAIL_PREFETCH_FOR_WRITING(address) static_cast<void>(address)
#endif
