// Adam's moments in bfloat16: half the memory of float. The first is rounded to nearest. The second changes by less
// than a bfloat16 can tell in a step, and would stand still: it is rounded up or down at random, so that its mean is
// right. The random bits are a hash of step and entry: no state, and the same bits for any number of threads.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameter_view.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
void widen_bfloat16(const std::uint16_t* from, Index count, S* to) {
  for (Index i = 0; i < count; ++i) to[i] = static_cast<S>(std::bit_cast<float>(std::uint32_t{from[i]} << 16));
}

/// Of a number that is no NaN; one beyond the largest bfloat16 becomes that.
template <class S>
std::uint32_t bits_within_bfloat16(S number) {
  constexpr float largest = 0x1.FEp127f;
  const S limit = static_cast<S>(largest);
  return std::bit_cast<std::uint32_t>(static_cast<float>((std::min)((std::max)(number, -limit), limit)));
}

/// To nearest; a tie goes to the even one. No NaN.
template <class S>
void round_to_bfloat16(const S* from, Index count, std::uint16_t* to) {
  for (Index i = 0; i < count; ++i) {
    const std::uint32_t bits = bits_within_bfloat16(from[i]);
    to[i] = static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  }
}

/// Up with the probability that is the part cut off; numbers of 0 or more, and never to infinity. `first` is the number
/// of the first entry. (The hash is the last steps of MurmurHash3.)
template <class S>
void round_to_bfloat16_at_random(const S* from, Index count, std::uint32_t key, std::uint32_t first,
                                 std::uint16_t* to) {
  for (Index i = 0; i < count; ++i) {
    std::uint32_t hash = (first + static_cast<std::uint32_t>(i)) * 0x9e3779b1u ^ key;
    hash = (hash ^ (hash >> 16)) * 0x85ebca6bu;
    hash = (hash ^ (hash >> 13)) * 0xc2b2ae35u;
    hash ^= hash >> 16;
    to[i] = static_cast<std::uint16_t>((bits_within_bfloat16(from[i]) + (hash & 0xffffu)) >> 16);
  }
}

/// Of a step, and of the entries from a multiple of 2^32 on. (SplitMix64's.)
inline std::uint32_t rounding_key(std::uint64_t step, std::uint64_t first) {
  std::uint64_t bits = step * 0x9e3779b97f4a7c15u + (first >> 32) * 0xd1342543de82ef95u;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return static_cast<std::uint32_t>(bits >> 32);
}

/// Leaves one entry of each parameter; one without any might not be visited. Maps, and what has its size by its type,
/// stay as they are.
struct EmptiedParameters {
  std::vector<std::function<void()>> all;

  template <class Parameter>
  void operator()(std::string_view, Parameter& parameter) {
    if constexpr (can_be_emptied<Parameter>) {
      Parameter one;
      resize(one, 1, 1);
      std::fill_n(one.data(), one.size(), std::remove_pointer_t<decltype(one.data())>(0));
      all.push_back([&parameter, one]() mutable { parameter = std::move(one); });
    }
  }

  /// Allocates nothing. The memory is freed with this object.
  void take() {
    for (auto& take_one : all) take_one();
  }

  template <class Parameter>
  static constexpr bool can_be_emptied = requires(Parameter& p) {
    p.setZero(0, 0);
  };

  template <class Parameter>
  static void resize(Parameter& parameter, Index rows, Index cols) {
    if constexpr (requires { Parameter::SizeAtCompileTime; }) {
      constexpr Index own_rows = Parameter::RowsAtCompileTime, own_cols = Parameter::ColsAtCompileTime;
      parameter.resize(own_rows == Eigen::Dynamic ? rows : own_rows, own_cols == Eigen::Dynamic ? cols : own_cols);
    } else {
      parameter.resize(rows, cols);
    }
  }
};

class PackedMoments {
 public:
  PackedMoments() = default;

  /// Of the two moments, rounded to nearest.
  template <class Model>
  PackedMoments(const Model& mean, const Model& square) : is_used_(true) {
    list_shapes(mean);
    append(views_of(mean), entries_[0]);
    append(views_of(square), entries_[1]);
  }

  bool is_used() const { return is_used_; }

  std::uint16_t* entries(std::size_t moment, Index begin) { return entries_[moment].data() + begin; }

  /// Whether these are moments of a model of these shapes.
  template <class Model>
  bool fit(const Model& model) const {
    std::size_t parameters = 0;
    bool same = true;
    for_each_view(
        [&](std::string_view name, const ParameterView* view) {
          const std::size_t i = parameters++;
          same = same && i < shapes_.size() && shapes_[i].name == name && shapes_[i].rows == view->rows &&
                 shapes_[i].cols == view->cols;
        },
        model);
    return same && parameters == shapes_.size();
  }

  /// A copy of the emptied moment, with its entries.
  template <class Model>
  Model unpacked(std::size_t moment, const Model& emptied) const {
    Model full = emptied;
    std::size_t i = 0;
    for_each_parameter(
        [&](std::string_view, auto& parameter) {
          const Shape& shape = shapes_[i++];
          using Parameter = std::remove_reference_t<decltype(parameter)>;
          if constexpr (EmptiedParameters::can_be_emptied<Parameter>)
            EmptiedParameters::resize(parameter, shape.rows, shape.cols);
          write(entries_[moment].data() + shape.begin, view_of(parameter));
        },
        full);
    return full;
  }

 private:
  struct Shape {
    std::string name;
    Index rows, cols, begin;
  };

  template <class Model>
  void list_shapes(const Model& model) {
    Index begin = 0;
    for_each_view(
        [&](std::string_view name, const ParameterView* view) {
          shapes_.push_back({std::string(name), view->rows, view->cols, begin});
          begin += view->size();
        },
        model);
    for (auto& entries : entries_) entries.reserve(static_cast<std::size_t>(begin));
  }
  static void append(const std::vector<ParameterView>& parameters, std::vector<std::uint16_t>& entries) {
    for (const ParameterView& parameter : parameters)
      parameter.for_each_block([&](Index, const double* values, Index count) {
        const std::size_t end = entries.size();
        entries.resize(end + static_cast<std::size_t>(count));
        round_to_bfloat16(values, count, entries.data() + end);
      });
  }
  static void write(const std::uint16_t* entries, const ParameterView& parameter) {
    constexpr Index block = 256;
    double values[block];
    for (Index begin = 0; begin < parameter.size(); begin += block) {
      const Index count = (std::min)(block, parameter.size() - begin);
      widen_bfloat16(entries + begin, count, values);
      parameter.write(begin, count, values);
    }
  }

  bool is_used_ = false;
  std::vector<Shape> shapes_;
  std::vector<std::uint16_t> entries_[2];
};

}  // namespace detail

MOE_NAMESPACE_END
