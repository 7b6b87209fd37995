// What the kernels ask of the compiler beyond C++: hints that change speed and nothing else.
#pragma once

/// Unrolls the loop that follows, whose bounds are constants: arrays of packets become registers.
#if defined(__clang__)
#define MOE_DETAIL_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define MOE_DETAIL_UNROLL _Pragma("GCC unroll 32")
#else
#define MOE_DETAIL_UNROLL
#endif

/// Keeps a packet in a register: the compiler might otherwise load it again for each of its uses.
#if defined(__GNUC__) && defined(__AVX512F__)
#define MOE_DETAIL_PIN(packet) asm("" : "+v"(packet))
#elif defined(__GNUC__) && defined(__SSE__)
#define MOE_DETAIL_PIN(packet) asm("" : "+x"(packet))
#else
#define MOE_DETAIL_PIN(packet) static_cast<void>(packet)
#endif

/// Asks for the cache line at `address`, to be in the second-level cache when it is needed.
#if defined(__GNUC__)
#define MOE_DETAIL_PREFETCH(address) __builtin_prefetch(address, 0, 2)
#else
#define MOE_DETAIL_PREFETCH(address) static_cast<void>(address)
#endif

/// Asks for the cache line at `address`, which is about to be written: a store that waits for its line holds up those
/// behind it.
#if defined(__GNUC__)
#define MOE_DETAIL_PREFETCH_FOR_WRITING(address) __builtin_prefetch(address, 1, 3)
#else
#define MOE_DETAIL_PREFETCH_FOR_WRITING(address) static_cast<void>(address)
#endif
