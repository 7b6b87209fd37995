// A layer, and tokens for it, as the bytes say: any gate, experts, losses, capacity, dispatch options.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/bytes.hpp"
#include "moe/moe.hpp"

namespace fuzz {

using S = double;
using moe::Matrix, moe::Vector;

using Inner = moe::Layer<moe::Router<S>, moe::TopK, moe::Linear<S>, moe::Losses<moe::RouterZLoss>>;
using AnyExpert = moe::VariantExpert<S, moe::Linear<S>, moe::SwiGlu<S>, moe::Mlp<S, moe::Gelu>, moe::ZeroExpert<S>,
                                     moe::IdentityExpert<S>, moe::ConstantExpert<S>, moe::ClampedSwiGlu<S>, Inner>;
using AnyGate =
    moe::VariantGate<S, moe::TopK, moe::ScoredTopK, moe::Hash, moe::ExpertChoice, moe::Sinkhorn, moe::BaseAssignment,
                     moe::Threshold, moe::TopP, moe::VariableTopK, moe::SparseMixer, moe::Softmax, moe::Replay<S>,
                     moe::OptionalChoices, moe::NoTokenLeftBehind, moe::Prioritized<moe::TopK>,
                     moe::GumbelNoise<moe::TopK>, moe::FixedNoise<moe::ScoredTopK>, moe::NoisyTopK<S>>;
using AnyLosses = moe::Losses<moe::LoadBalanceLoss, moe::RouterZLoss, moe::ImportanceLoss, moe::LoadLoss,
                              moe::EntropyLoss, moe::TokenBalanceLoss, moe::DeviceBalanceLoss, moe::SecondChoiceLoss,
                              moe::GateLabelLoss, moe::ScoreVarianceLoss>;
using AnyLayer = moe::Layer<moe::Router<S>, AnyGate, AnyExpert, AnyLosses>;

/// The sizes of a case, and the tokens of its batch.
struct Tokens {
  Index count, width, experts;
  Matrix<S> x_TD;
  std::vector<std::uint8_t> valid;
  std::vector<std::int64_t> ids;
  Index group_size = 0;
  bool wild = false;  // some number is no number, or too large

  moe::Batch<S> batch() const {
    moe::Batch<S> tokens = x_TD;
    tokens.valid = valid;
    tokens.ids = ids;
    tokens.group_size = group_size;
    return tokens;
  }
};

inline Tokens any_tokens(Bytes& in) {
  Tokens tokens{
      .count = in.index(14), .width = 1 + in.index(5), .experts = 1 + in.index(6), .x_TD = {}, .valid = {}, .ids = {}};
  const std::uint8_t what = in.byte();
  tokens.wild = (what & 15) == 15;
  tokens.x_TD.resize(tokens.count, tokens.width);
  std::mt19937_64 rng{in.byte()};
  for (Index i = 0; i < tokens.x_TD.size(); ++i)
    tokens.x_TD.data()[i] = tokens.wild ? in.wild_number() : moe::detail::random_normal(rng);
  if ((what & 16) != 0)
    for (Index t = 0; t < tokens.count; ++t)
      tokens.valid.push_back(in.index(4) == 0 ? std::uint8_t{0} : std::uint8_t{1});
  if ((what & 32) != 0)
    for (Index t = 0; t < tokens.count; ++t) tokens.ids.push_back(in.index(5));
  if ((what & 64) != 0) tokens.group_size = in.index(5);
  return tokens;
}

inline moe::Epsilon any_epsilon(Bytes& in, double value) {
  return in.flag() ? moe::Epsilon::floor(value) : moe::Epsilon(value);
}

inline moe::Scores any_scores(Bytes& in) {
  const Index function = in.index(3);
  moe::ScoreOptions options{.normalize = in.flag()};
  options.epsilon = any_epsilon(in, 1e-20);
  options.scale = 1.0 + in.whole(3);
  return function == 0   ? moe::Scores::softmax(options)
         : function == 1 ? moe::Scores::sigmoid(options)
                         : moe::Scores::sqrt_softplus(options);
}

inline moe::ChoiceWeights any_weights(Bytes& in) {
  switch (in.index(6)) {
    case 0:
      return moe::ChoiceWeights::softmax_of_chosen();
    case 1: {
      const double value = in.whole(3) * 1e-9;
      const moe::Epsilon epsilon = any_epsilon(in, value);
      return moe::ChoiceWeights::renormalized({.epsilon = epsilon, .norm = 1.0 + in.whole(2)});
    }
    case 2:
      return moe::ChoiceWeights::probabilities();
    case 3:
      return moe::ChoiceWeights::uniform();
    case 4:
      return moe::ChoiceWeights::sigmoid();
    default:
      return any_scores(in);
  }
}

inline moe::TopK any_top_k(Bytes& in, Index experts) {
  return {.k = 1 + in.index(experts), .weights = any_weights(in)};
}

inline moe::ScoredTopK any_scored(Bytes& in, Index experts) {
  moe::ScoredTopK gate{.k = 1 + in.index(experts), .scores = any_scores(in)};
  if (in.flag()) {
    gate.groups = 1 + in.index(experts);
    gate.groups_used = 1 + in.index(gate.groups);
    gate.group_score = in.one_of<moe::ScoredTopK::GroupScore>(3);
    gate.from_each_group = in.flag();
  }
  if (in.flag()) {
    gate.selection_bias_E.resize(experts);
    for (Index e = 0; e < experts; ++e) gate.selection_bias_E(e) = in.number();
  }
  return gate;
}

inline moe::Capacity any_capacity(Bytes& in) {
  switch (in.index(6)) {
    case 0:
      return moe::Capacity::exactly(in.index(5));
    case 1:
      return moe::Capacity::factor(0.25 * (1 + in.whole(8)));
    case 2:
      return moe::Capacity::gshard(0.25 * (1 + in.whole(8))).at_inference(moe::Capacity::exactly(in.index(3)));
    case 3:
      return moe::Capacity::tutel(0.25 * (1 + in.whole(8)), 1 + in.index(3));
    default:
      return moe::Capacity::unlimited();
  }
}

inline AnyGate any_gate(Bytes& in, const Tokens& tokens) {
  const Index experts = tokens.experts;
  switch (in.index(18)) {
    case 0:
      return any_top_k(in, experts);
    case 1:
      return any_scored(in, experts);
    case 2: {
      moe::Hash gate;
      gate.tables.resize(1 + static_cast<std::size_t>(in.index(9)));
      for (auto& table : gate.tables)
        for (int id = 0; id < 4; ++id) table.push_back(in.index(experts));
      gate.weights = any_weights(in);
      return gate;
    }
    case 3:
      return moe::ExpertChoice{.factor = 0.5 * (1 + in.whole(2 * experts)),
                               .rounding = in.one_of<moe::Rounding>(3),
                               .softmax_axis = in.one_of<moe::ExpertChoice::Axis>(2),
                               .average = in.flag(),
                               .minimum = 1 + in.index(3),
                               .multiple = 1 + in.index(3)};
    case 4:
      return moe::Sinkhorn{.k = 1 + in.index(experts), .temperature = 0.1 + in.whole(3)};
    case 5:
      return moe::BaseAssignment{.step_share = 0.01 * (1 + in.whole(99))};
    case 6:
      return moe::Threshold{.threshold = 0.1 * in.whole(10), .at_least_one = in.flag()};
    case 7:
      return moe::TopP{.p = 0.05 * (1 + in.whole(20)),
                       .most = in.index(experts + 1),
                       .weights = any_weights(in),
                       .stay_below = in.flag()};
    case 8: {
      moe::VariableTopK gate{.k_T = {}, .weights = any_weights(in)};
      for (Index t = 0; t < tokens.count; ++t) gate.k_T.push_back(in.index(experts + 1));
      return gate;
    }
    case 9:
      return moe::SparseMixer{.k = 1 + in.index(experts), .band = 0.01 * (1 + in.whole(30))};
    case 10:
      return moe::Softmax{};
    case 11: {
      moe::Replay<S> gate;
      for (Index i = in.index(20); i > 0; --i)
        gate.choices.push_back({in.index(tokens.count + 1), in.index(experts), in.number(),
                                static_cast<int>(in.index(3)), in.one_of<moe::Fate>(3)});
      if (in.flag()) gate.weights = any_weights(in);
      return gate;
    }
    case 12:
      return moe::OptionalChoices{.top_k = any_top_k(in, experts),
                                  .send = in.one_of<moe::OptionalChoices::Send>(4),
                                  .threshold = 0.1 * in.whole(11)};
    case 13: {
      moe::TopK top_k = any_top_k(in, experts);
      top_k.weights = moe::ChoiceWeights::probabilities();
      return moe::NoTokenLeftBehind{.top_k = top_k, .capacity = any_capacity(in), .attempts = in.index(4)};
    }
    case 14:
      return moe::Prioritized<moe::TopK>{any_top_k(in, experts), in.one_of<moe::Priority>(6), any_capacity(in)};
    case 15:
      return moe::GumbelNoise<moe::TopK>{any_top_k(in, experts), in.flag(), 0.5 + in.whole(3)};
    case 16:
      return moe::FixedNoise<moe::ScoredTopK>{any_scored(in, experts), 0.5 + in.whole(3)};
    default: {
      auto gate = moe::NoisyTopK<S>::zeros(experts, tokens.width, any_top_k(in, experts));
      for (Index i = 0; i < gate.noise_weight_ED.size(); ++i) gate.noise_weight_ED.data()[i] = in.number();
      return gate;
    }
  }
}

inline AnyExpert any_expert(Bytes& in, Index width, std::mt19937_64& rng) {
  const moe::ExpertOptions options{.bias = in.flag()};
  switch (in.index(8)) {
    case 0:
    case 1:
      return moe::Linear<S>::random(width, width, rng);
    case 2:
      return moe::SwiGlu<S>::random(width, 1 + in.index(20), rng, options);
    case 3:
      return moe::Mlp<S, moe::Gelu>::random(width, 1 + in.index(20), rng, options);
    case 4:
      return in.flag() ? AnyExpert{moe::ZeroExpert<S>{}} : AnyExpert{moe::IdentityExpert<S>{}};
    case 5:
      return moe::ConstantExpert<S>::random(width, rng);
    case 6:
      return moe::ClampedSwiGlu<S>::random(width, 1 + in.index(4), rng, options);
    default:
      return Inner{moe::Router<S>::random(2, width, rng),
                   moe::TopK{.k = 1 + in.index(2), .weights = moe::ChoiceWeights::probabilities()},
                   moe::make_experts<moe::Linear<S>>(2, width, width, rng),
                   {moe::RouterZLoss{.coefficient = in.number()}}};
  }
}

inline AnyLosses any_losses(Bytes& in, const Tokens& tokens) {
  const std::uint16_t wanted = static_cast<std::uint16_t>(in.byte() | (in.byte() << 8));
  const auto coefficient = [&](int i) { return (wanted >> i & 1) != 0 ? 0.25 * (i + 1) : 0.0; };
  moe::LoadBalanceLoss balance{.coefficient = coefficient(0)};
  if (coefficient(0) != 0) {
    balance.count = in.one_of<moe::LoadBalanceLoss::Count>(7);
    balance.scope = in.one_of<moe::LoadBalanceLoss::Scope>(2);
    if (in.index(4) == 0) balance.earlier = {Vector<double>::Ones(in.index(8)), in.whole(3)};
  }
  moe::EntropyLoss entropy{
      .coefficient = coefficient(4), .kind = in.one_of<moe::EntropyLoss::Kind>(3), .threshold = in.number()};
  if (coefficient(4) != 0 && in.flag()) {
    entropy.modality = static_cast<int>(in.index(2));
    for (Index t = in.index(2); t < tokens.count; ++t)
      entropy.modality_of_token.push_back(static_cast<std::int8_t>(in.index(2)));
  }
  moe::GateLabelLoss label{.coefficient = coefficient(8)};
  if (coefficient(8) != 0) {
    for (Index t = in.index(8) == 0 ? 1 : 0; t < tokens.count; ++t)
      label.label_of_token.push_back(in.index(tokens.experts + 1) - 1);
    if (in.flag())
      for (Index e = in.index(8) == 0 ? 1 : 0; e < tokens.experts; ++e) label.label_of_expert.push_back(in.index(3));
  }
  return {balance,
          moe::RouterZLoss{.coefficient = coefficient(1)},
          moe::ImportanceLoss{.coefficient = coefficient(2), .source = in.one_of<moe::ImportanceLoss::Source>(2)},
          moe::LoadLoss{.coefficient = coefficient(3), .threshold = in.one_of<moe::LoadLoss::Threshold>(4)},
          entropy,
          moe::TokenBalanceLoss{.coefficient = coefficient(5)},
          moe::DeviceBalanceLoss{.coefficient = coefficient(6),
                                 .devices = 1 + in.index(3),
                                 .kind = in.one_of<moe::DeviceBalanceLoss::Kind>(2)},
          moe::SecondChoiceLoss{.coefficient = coefficient(7)},
          label,
          moe::ScoreVarianceLoss{.coefficient = coefficient(5)}};
}

inline moe::DispatchOptions any_dispatching(Bytes& in) {
  moe::DispatchOptions options = any_capacity(in);
  const std::uint8_t what = in.byte();
  options.renormalize_kept = (what & 1) != 0;
  options.pass_dropped = (what & 2) != 0;
  options.weigh_input = (what & 4) != 0;
  options.straight_through = (what & 8) != 0;
  options.non_finite = in.one_of<moe::NonFinite>(3);
  return options;
}

/// Throws std::invalid_argument where the parts do not fit.
inline AnyLayer any_layer(Bytes& in, const Tokens& tokens) {
  std::mt19937_64 rng{in.byte()};
  auto router = moe::Router<S>::random(tokens.experts, tokens.width, rng);
  if (in.flag()) router.bias_E = moe::random_matrix<S>(tokens.experts, 1, rng);
  if (in.index(4) == 0) router.jitter = 0.1;
  AnyGate gate = any_gate(in, tokens);
  std::vector<AnyExpert> experts;
  const bool alike = in.flag();
  for (Index e = 0; e < tokens.experts; ++e)
    experts.push_back(alike && e > 0 ? experts.front() : any_expert(in, tokens.width, rng));
  AnyLosses losses = any_losses(in, tokens);
  const moe::DispatchOptions options = any_dispatching(in);
  about() = "gate " + std::to_string(gate.gate.index()) + " of the list, experts";
  for (const AnyExpert& expert : experts) about() += ' ' + std::to_string(expert.expert.index());
  about() += ", " + std::to_string(tokens.count) + " tokens of width " + std::to_string(tokens.width) +
             ", group size " + std::to_string(tokens.group_size) + (tokens.wild ? ", wild" : "") +
             (tokens.valid.empty() ? "" : ", mask") + (options.renormalize_kept ? ", renormalized" : "") +
             (options.pass_dropped ? ", passed" : "") + (options.weigh_input ? ", weighs input" : "") +
             (options.straight_through ? ", straight through" : "") + ", policy " +
             std::to_string(static_cast<int>(options.non_finite));
  return {std::move(router), std::move(gate), std::move(experts), std::move(losses), options};
}

/// One thread, which takes the tasks in one or the other order and says to be so many.
struct Ordered {
  Index threads = 1;
  bool backwards = false;

  Index threads_at_work() const { return threads; }
  template <class F>
  void parallel_for(Index count, F&& f) const {
    for (Index i = 0; i < count; ++i) f(backwards ? count - 1 - i : i);
  }
};

}  // namespace fuzz
