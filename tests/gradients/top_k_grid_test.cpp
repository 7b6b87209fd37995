// Top-k layers over the grid experts x k x tokens x weights x capacity x losses, with the kinds of experts dealt round.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>

#include "check_case.hpp"

namespace gradients {
namespace top_k_grid_test {

struct GridPoint {
  Index experts, k, tokens;
  moe::ChoiceWeights weights;
  bool tight, with_losses;
  Index number;

  friend std::ostream& operator<<(std::ostream& out, const GridPoint& p) {
    return out << "experts " << p.experts << ", k " << p.k << ", tokens " << p.tokens << ", weights "
               << (p.weights.are_divided()         ? "divided"
                   : p.weights.are_probabilities() ? "as they are"
                                                   : "even")
               << (p.tight ? ", tight" : "") << (p.with_losses ? ", losses" : "") << ", number " << p.number;
  }
};

template <class X, class L>
void check_with(Summary& summary, const GridPoint& point, const L& losses) {
  const moe::TopK gate{.k = point.k, .weights = point.weights};
  const Setting setting{.tokens = point.tokens, .room = {.factor = point.tight ? std::optional(0.6) : std::nullopt}};
  const bool bias = point.number % 4 < 2;
  const auto draw = [&](std::mt19937_64& rng) {
    return moe::Layer{support::random_router(point.experts, width, rng, bias), gate,
                      support::random_experts<X>(point.experts, width, hidden, rng, bias), losses,
                      setting.room.capacity()};
  };
  std::ostringstream name;
  name << point;
  if (point.k == 1 && point.experts > 1 && point.weights.are_divided()) {
    std::mt19937_64 rng(1);
    EXPECT_THROW(draw(rng), std::invalid_argument) << name.str();
    ++summary.refused;
    return;
  }
  check_case(summary, name.str(), setting, draw);
}

template <class X>
void check_point(Summary& summary, const GridPoint& point) {
  if (point.with_losses)
    check_with<X>(summary, point, all_losses(point.number));
  else
    check_with<X>(summary, point, moe::Losses{});
}

constexpr std::array kinds{
    &check_point<moe::Linear<double>>,         &check_point<moe::Mlp<double, moe::Relu>>,
    &check_point<moe::Mlp<double, moe::Gelu>>, &check_point<moe::Mlp<double, moe::GeluTanh>>,
    &check_point<moe::Mlp<double, moe::Silu>>, &check_point<moe::Glu<double, moe::Silu>>,
    &check_point<moe::Glu<double, moe::Gelu>>, &check_point<moe::Glu<double, moe::Relu>>,
};

TEST(GradientGrid, TopK) {
  Summary summary("top-k grid");
  Index number = 0;
  for (const Index experts : {1, 2, 3, 8})
    for (const Index k : std::set<Index>{1, (std::min)(Index{2}, experts), experts})
      for (const Index tokens : {1, 2, 17})
        for (const auto& weights :
             {moe::ChoiceWeights::softmax_of_chosen(), moe::ChoiceWeights::renormalized({.epsilon = 0.01}),
              moe::ChoiceWeights::probabilities(), moe::ChoiceWeights::uniform()})
          for (const bool tight : {false, true})
            for (const bool with_losses : {false, true}) {
              // Not `number % size` alone: the inner loops have powers of two as lengths, too.
              const auto kind = static_cast<std::size_t>(number + number / 7) % kinds.size();
              kinds[kind](summary, {experts, k, tokens, weights, tight, with_losses, number++});
            }
}

}  // namespace top_k_grid_test
}  // namespace gradients
