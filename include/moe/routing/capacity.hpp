// How many choices an expert takes. Known systems call different numbers the capacity factor: the formula stands
// beside each.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/core/rounding.hpp"
#include "moe/core/text.hpp"

MOE_NAMESPACE_BEGIN

/// How many choices each expert takes in one group of tokens. T counts the group's tokens without padding, k the
/// choices of a token, so that T k is the number of choices (also where k differs from token to token).
class Capacity {
 public:
  /// C = round(factor T k / E), at least `minimum`, then up to a multiple.
  struct Formula {
    double factor = 1;
    Rounding rounding = Rounding::up;
    bool counts_k = true;         ///< false: T / E * factor, whatever k
    Index minimum = 0;            ///< At least so many slots.
    Index multiple = 1;           ///< C is rounded up to a multiple of this
    bool at_most_tokens = false;  ///< C = min(C, T), before the minimum
    bool whole_share = false;     ///< k round(factor ceil(T / E)) instead of round(factor T k / E)
    bool whole_tokens = false;    ///< floor(k ceil(factor T) / E)
    bool of_tokens = false;       ///< round(factor T), whatever E and k
    bool in_float = false;        ///< T / E and factor k are rounded to float, and their product too
  };

  /// Not to be used: a number does not say which of the formulas below it belongs to.
  template <class Number>
  requires std::is_arithmetic_v<Number> Capacity(Number) {
    static_assert(!std::is_arithmetic_v<Number>,
                  "moe: a number is no Capacity: write Capacity::factor(1.25) for 1.25 times an expert's even share, "
                  "Capacity::exactly(2) for 2 slots");
  }

  /// No limit: nothing is dropped.
  static Capacity unlimited() { return Capacity(Rule{}); }

  /// ceil(factor T k / E) (V-MoE, Megatron-Core; DeepSpeed for k >= 2). Throws std::invalid_argument unless the factor
  /// is finite and > 0, as all that take a factor do.
  static Capacity factor(double factor) { return formula({.factor = factor}); }

  /// C = slots, whatever the batch; 0 drops everything. Throws std::invalid_argument if negative.
  static Capacity exactly(Index slots) {
    require(slots >= 0, "Capacity::exactly: ", slots, " slots, it must be 0 or more");
    return Capacity(Rule{.kind = Kind::exact, .slots = slots});
  }

  /// GShard, lingvo: floor(factor T / E), at least 4, up to a multiple of 4.
  static Capacity gshard(double factor) {
    return formula({.factor = factor, .rounding = Rounding::down, .counts_k = false, .minimum = 4, .multiple = 4});
  }
  /// Mesh TensorFlow, lucidrains (GShard, ST-MoE): max(min(T, floor(factor T / E)), 4).
  static Capacity mesh(double factor, Index minimum = 4) {
    return formula(
        {.factor = factor, .rounding = Rounding::down, .counts_k = false, .minimum = minimum, .at_most_tokens = true});
  }
  /// flaxformer: max(round(factor T / E), 4).
  static Capacity flaxformer(double factor, Index minimum = 4) {
    return formula({.factor = factor, .rounding = Rounding::nearest, .counts_k = false, .minimum = minimum});
  }
  /// V-MoE: ceil(factor T k / E), up to a multiple (4 there).
  static Capacity v_moe(double factor, Index multiple = 4) { return formula({.factor = factor, .multiple = multiple}); }
  /// DeepSpeed: max(ceil(factor T k / E), 4), computed in float as there: a product next to a whole number may differ.
  static Capacity deepspeed(double factor, Index minimum = 4) {
    return formula({.factor = factor, .minimum = minimum, .in_float = true});
  }
  /// MegaBlocks: floor(factor T k / E).
  static Capacity megablocks(double factor) { return formula({.factor = factor, .rounding = Rounding::down}); }
  /// Tutel: k floor(factor ceil(T / E)), up to a multiple.
  static Capacity tutel(double factor, Index alignment = 1) {
    return formula({.factor = factor, .rounding = Rounding::down, .multiple = alignment, .whole_share = true});
  }
  /// fairseq top-2: 2 ceil(T / E); top-1: floor(factor ceil(T / E)).
  static Capacity fairseq(double factor = 1) {
    return formula({.factor = factor, .rounding = Rounding::down, .whole_share = true});
  }

  /// FastMoE's GShard gate: floor(k ceil(factor T) / E).
  static Capacity fastmoe(double factor) { return formula({.factor = factor, .whole_tokens = true}); }
  /// FastMoE's Switch gate: ceil(factor T / E).
  static Capacity fastmoe_switch(double factor) { return formula({.factor = factor, .counts_k = false}); }
  /// ceil(factor T), whatever E (fairseq in evaluation, with 0.25).
  static Capacity share_of_tokens(double factor) { return formula({.factor = factor, .of_tokens = true}); }

  /// Any other. Throws std::invalid_argument if a number makes no sense.
  static Capacity formula(const Formula& formula) {
    require(detail::has_finite_bits(formula.factor) && formula.factor > 0, "Capacity: the factor is ", formula.factor,
            ", it must be finite and more than 0");
    require(formula.minimum >= 0 && formula.multiple >= 1, "Capacity: minimum ", formula.minimum, " and multiple ",
            formula.multiple, ", they must be at least 0 and 1");
    return Capacity(Rule{.kind = Kind::formula, .formula = formula});
  }

  /// Another capacity for passes with an unseeded tape, that is for evaluation and inference.
  Capacity at_inference(const Capacity& other) const {
    Capacity both = *this;
    both.inference_ = other.inference_;
    return both;
  }

  /// C for a group of `tokens` in which `choices` were made.
  Index slots(Index tokens, Index choices, Index experts, bool training) const {
    const Rule& rule = training ? training_ : inference_;
    if (rule.kind == Kind::unlimited) return choices;
    return rule.kind == Kind::exact ? rule.slots : evaluate(rule.formula, tokens, choices, experts);
  }

  /// "unlimited", "exactly 2 slots", "factor 1.25 (at least 4 slots, a multiple of 4)"; what it is at inference behind
  /// it if that is another: "factor 1.25, at inference unlimited".
  std::string text() const {
    const std::string training = text_of(training_), inference = text_of(inference_);
    return training == inference ? training : training + ", at inference " + inference;
  }

  bool is_limited(bool training) const { return (training ? training_ : inference_).kind != Kind::unlimited; }

 private:
  enum class Kind { unlimited, exact, formula };

  struct Rule {
    Kind kind = Kind::unlimited;
    Index slots = 0;
    Formula formula = {};
  };

  explicit Capacity(const Rule& rule) : training_(rule), inference_(rule) {}

  static std::string text_of(const Rule& rule) {
    if (rule.kind == Kind::unlimited) return "unlimited";
    if (rule.kind == Kind::exact) return detail::joined("exactly ", rule.slots, " slots");
    const Formula& f = rule.formula;
    std::string more;
    const auto add = [&](bool is_so, const std::string& words) {
      if (is_so) more += (more.empty() ? "" : ", ") + words;
    };
    add(!f.counts_k, "whatever k");
    add(f.whole_share, "of whole shares");
    add(f.whole_tokens, "of whole tokens");
    add(f.of_tokens, "of all tokens");
    add(f.in_float, "in float");
    add(f.rounding == Rounding::down, "rounded down");
    add(f.rounding == Rounding::nearest, "rounded to the nearest");
    add(f.at_most_tokens, "at most all tokens");
    add(f.minimum > 0, detail::joined("at least ", f.minimum, " slots"));
    add(f.multiple > 1, detail::joined("a multiple of ", f.multiple));
    return detail::joined("factor ", f.factor) + (more.empty() ? "" : " (" + more + ")");
  }

  static Index evaluate(const Formula& f, Index tokens, Index choices, Index experts) {
    const auto t = static_cast<double>(tokens), e = static_cast<double>(experts), n = static_cast<double>(choices);
    // One product, then one division: the order decides on which side of a whole number rounding errors fall.
    if (f.whole_tokens) return finish(f, t > 0 ? std::floor(n / t * std::ceil(f.factor * t) / e) : 0, t);
    if (f.in_float && t > 0)
      return finish(f, detail::rounded(static_cast<float>(t / e) * static_cast<float>(f.factor * (n / t)), f.rounding),
                    t);
    if (f.of_tokens) return finish(f, detail::rounded(f.factor * t, f.rounding), t);
    double wanted = detail::rounded(f.whole_share ? std::ceil(t / e) * f.factor
                                    : f.counts_k  ? n / e * f.factor
                                                  : f.factor * t / e,
                                    f.rounding);
    if (f.whole_share && f.counts_k && tokens > 0) wanted *= n / t;
    return finish(f, wanted, t);
  }

  static Index finish(const Formula& f, double wanted, double tokens) {
    if (f.at_most_tokens) wanted = (std::min)(wanted, tokens);
    const Index slots = (std::max)(f.minimum, static_cast<Index>((std::min)(wanted, 0x1p62)));
    return detail::rounded_up(slots, f.multiple);
  }

  Rule training_, inference_;
};

MOE_NAMESPACE_END
