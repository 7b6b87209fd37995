// Few rows times a weight in blocks: each block is decoded in registers, on its way from memory, and meets all rows
// there. Every sum is added up in the order of the inputs, as in a tile, and has the bits that a tile would give it.
//
// A storage lies in blocks if it has a type Blocks, and
//   const std::uint8_t* block(p, b) const   where block b of panel p lies, the blocks of a panel one after the other.
// Blocks says what a block is (moe/storage/coded_weights.hpp):
//   inputs, bytes        how many inputs of panel_width outputs it holds, and in how many bytes;
//   together             how many inputs are decoded at once, since they share words;
//   read(block, k, t, j) packet j (of PacketsOf<float>::packets) of the weights of input k + t: k is a multiple of
//                        `together`, and t less than it, a constant for the compiler.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>

#include "moe/core/core.hpp"
#include "moe/core/packet.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/tile.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class W>
concept LiesInBlocks = requires(const W w, Index i) {
  typename W::Blocks;
  { w.block(i, i) } -> std::same_as<const std::uint8_t*>;
};

/// out (Blocks::inputs, panel_width) = the weights of one block.
template <class Blocks>
void decode_block(const std::uint8_t* block, float* out) {
  constexpr int lanes = PacketsOf<float>::lanes, packets = PacketsOf<float>::packets;
  constexpr int together = static_cast<int>(Blocks::together);
  for (Index k = 0; k < Blocks::inputs; k += together, out += together * panel_width) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < packets; ++j) {
      MOE_DETAIL_UNROLL
      for (int t = 0; t < together; ++t)
        Eigen::internal::pstoreu(out + t * panel_width + j * lanes, Blocks::read(block, k, t, j));
    }
  }
}

/// sums[p] (Rows, panel_width) = x (Rows, depth) times inputs k, ..., k + depth - 1 of each panel, whose blocks begin
/// at panels[p]. Rows of x are `x_stride` apart. What lies at next[p] is read after that. Never inlined: among other
/// code, its registers would be spilled.
template <class Blocks, int Rows, int Panels>
EIGEN_DONT_INLINE void multiply_blocks(const std::uint8_t* const* panels, const std::uint8_t* const* next, Index k,
                                       Index depth, const float* x, Index x_stride, float* const* sums) {
  using namespace Eigen::internal;  // the packet operations
  using Packet = typename PacketsOf<float>::Packet;
  constexpr int lanes = PacketsOf<float>::lanes, packets = PacketsOf<float>::packets, width = packets * Panels;
  constexpr auto row_count = std::size_t{Rows}, row_packets = std::size_t{width}, panel_count = std::size_t{Panels};
  constexpr int together = static_cast<int>(Blocks::together);
  constexpr Index bytes = Blocks::bytes, line = 64, ahead = (4096 + bytes - 1) / bytes;  // blocks
  const std::uint8_t *block[panel_count], *coming[panel_count];
  const Index first_block = k / Blocks::inputs, end = k + depth;
  MOE_DETAIL_UNROLL
  for (int p = 0; p < Panels; ++p) block[p] = coming[p] = panels[p] + first_block * bytes;
  auto offset = static_cast<std::uintptr_t>(ahead * bytes);  // of what is prefetched
  Packet sum[row_count][row_packets];
  MOE_DETAIL_UNROLL
  for (int r = 0; r < Rows; ++r) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < width; ++j) sum[r][j] = pset1<Packet>(0.0f);
  }
  Index blocks_left = (end + Blocks::inputs - 1) / Blocks::inputs - first_block;
  for (Index begin = k; begin < end; --blocks_left) {
    const Index block_end = (begin / Blocks::inputs + 1) * Blocks::inputs, stop = (std::min)(block_end, end);
    if (blocks_left == ahead) {
      MOE_DETAIL_UNROLL
      for (int p = 0; p < Panels; ++p) coming[p] = next[p] + first_block * bytes;
      offset = 0;
    }
    if constexpr (Panels < 4) {  // four streams are followed by processors themselves
      MOE_DETAIL_UNROLL
      for (int p = 0; p < Panels; ++p)
        for (std::uintptr_t i = 0; i < std::uintptr_t{bytes}; i += line) MOE_DETAIL_PREFETCH_FAR(coming[p], offset + i);
    }
    offset += std::uintptr_t{bytes};
    if (stop - begin == Blocks::inputs) {
      for (Index i = 0; i < Blocks::inputs; i += together, x += together) {
        MOE_DETAIL_UNROLL
        for (int p = 0; p < Panels; ++p) {
          const std::uint8_t* own = block[p];
          MOE_DETAIL_FORGET(own);
          MOE_DETAIL_UNROLL
          for (int j = 0; j < packets; ++j) {
            MOE_DETAIL_UNROLL
            for (int t = 0; t < together; ++t) {
              const Packet weights = Blocks::read(own, i, t, j);
              MOE_DETAIL_UNROLL
              for (int r = 0; r < Rows; ++r)
                sum[r][p * packets + j] = pmadd(pset1<Packet>(x[r * x_stride + t]), weights, sum[r][p * packets + j]);
            }
          }
        }
      }
    } else {  // a part of a block, where a sum begins or ends
      const Index first = begin - (block_end - Blocks::inputs), count = stop - begin;
      alignas(64) float decoded[std::size_t{Blocks::inputs * panel_width}];
      MOE_DETAIL_UNROLL
      for (int p = 0; p < Panels; ++p) {
        decode_block<Blocks>(block[p], decoded);
        for (Index i = 0; i < count; ++i) {
          MOE_DETAIL_UNROLL
          for (int r = 0; r < Rows; ++r) {
            const Packet entry = pset1<Packet>(x[r * x_stride + i]);
            MOE_DETAIL_UNROLL
            for (int j = 0; j < packets; ++j)
              sum[r][p * packets + j] = pmadd(entry, ploadu<Packet>(decoded + (first + i) * panel_width + j * lanes),
                                              sum[r][p * packets + j]);
          }
        }
      }
      x += count;
    }
    begin = stop;
    MOE_DETAIL_UNROLL
    for (int p = 0; p < Panels; ++p) block[p] += bytes;
  }
  MOE_DETAIL_UNROLL
  for (int r = 0; r < Rows; ++r) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < width; ++j) pstoreu(sums[j / packets] + r * panel_width + j % packets * lanes, sum[r][j]);
  }
}

/// Up to so many rows are multiplied by blocks as they lie in memory.
inline constexpr Index rows_by_block = TileShape<float>::rows;

/// multiply_blocks for each number of rows, and TileShape::panels of them, as a table.
template <class Blocks>
class BlocksOfRows {
  using Multiply = void (*)(const std::uint8_t* const* panels, const std::uint8_t* const* next, Index k, Index depth,
                            const float* x, Index x_stride, float* const* sums);
  template <int... i>
  static constexpr auto all(std::integer_sequence<int, i...>) {
    return std::array<Multiply, sizeof...(i)>{&multiply_blocks<Blocks, i + 1, TileShape<float>::panels(i + 1)>...};
  }

 public:
  static constexpr auto multiply = all(std::make_integer_sequence<int, static_cast<int>(rows_by_block)>());
};

/// Calls take(p, sums) for each panel p_begin, ..., p_end - 1: sums[i] (rows of x, panel_width) are those of x with
/// inputs k, ..., k + depth - 1 of weight i. All weights are of one shape.
template <class W, class Take>
void multiply_few_rows(View<const float> x, std::initializer_list<const W*> weights, Index p_begin, Index p_end,
                       Index k, Index depth, const Take& take) {
  using Shape = TileShape<float>;
  alignas(64) float scratch[Shape::most_panels][Shape::rows * panel_width];
  float* sums[Shape::most_panels];
  for (Index i = 0; i < Shape::most_panels; ++i) sums[i] = scratch[i];
  const auto together = static_cast<Index>(weights.size());
  const Index rows = x.rows(), at_once = Shape::panels(rows), group = (std::max)(at_once, together);
  const auto multiply = BlocksOfRows<typename W::Blocks>::multiply[static_cast<std::size_t>(rows - 1)];
  const Index last = (p_end - p_begin) * together - 1;  // beyond it, that one is computed again, and nobody reads it
  const auto panel = [&](Index i) {
    const Index at = (std::min)(i, last);
    return weights.begin()[at % together]->block(p_begin + at / together, 0);
  };
  for (Index first = 0; first <= last; first += group) {
    for (Index i = 0; i < group; i += at_once) {
      const std::uint8_t *panels[Shape::most_panels], *next[Shape::most_panels];
      for (Index j = 0; j < at_once; ++j) panels[j] = panel(first + i + j), next[j] = panel(first + i + j + at_once);
      multiply(panels, next, k, depth, x.data(), x.outerStride(), sums + i);
    }
    for (Index i = 0; i < group && first + i <= last; i += together) take(p_begin + (first + i) / together, sums + i);
  }
}

}  // namespace detail

MOE_NAMESPACE_END
