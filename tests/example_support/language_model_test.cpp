#include "support/language_model.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <numbers>
#include <stdexcept>
#include <string>

#include "language_model/claim.hpp"
#include "language_model/contestant.hpp"
#include "support/language_training.hpp"

namespace example {
namespace language_model_test {

using Layer = moe::Layer<moe::Router<double>, moe::TopK, moe::Mlp<double>, moe::Losses<moe::RouterZLoss>>;

std::string some_text() {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "to be " + std::string(i % 3 == 0 ? "or" : "and") + " not to be, ";
  return text;
}

template <class F>
LanguageModel<F> small_model(Index codes, std::uint64_t seed, const std::function<F(Index)>& ffn) {
  moe::Random random(seed);
  return random_language_model<F>(codes, {.width = 8, .heads = 2, .blocks = 2, .hidden = 6}, ffn, random);
}

LanguageModel<Layer> double_model(double z_coefficient) {
  moe::Random random(3);
  return small_model<Layer>(7, 4, [&](Index) {
    return Layer{moe::Router<double>::random(3, 8, random), moe::TopK{.k = 2},
                 moe::make_experts<moe::Mlp<double>>(3, 8, 6, random),
                 moe::Losses{moe::RouterZLoss{.coefficient = z_coefficient}}};
  });
}

TEST(CrossEntropy, OfEvenLogitsIsTheLogarithmOfTheirNumber) {
  moe::Matrix<double> logits = moe::Matrix<double>::Constant(3, 8, 5.0);
  EXPECT_NEAR(cross_entropy(logits, {0, 3, 7}), std::log(8.0), 1e-12);
  cross_entropy_gradient(logits, {0, 3, 7});
  EXPECT_NEAR(logits(0, 0), (1 / 8.0 - 1) / 3, 1e-12);
  EXPECT_NEAR(logits(0, 1), 1 / 24.0, 1e-12);
  EXPECT_THROW(cross_entropy(logits, {0}), std::invalid_argument);
}

// Embedding, blocks, head and auxiliary loss in one.
TEST(LanguageModel, GradientsAgreeWithDifferences) {
  const LanguageModel<Layer> model = double_model(0.1);
  TextBatch batch{5, {0, 1, 2, 3, 4, 5, 6, 0, 1, 1}, {1, 2, 3, 4, 5, 6, 0, 1, 1, 2}};
  const auto loss = [&](const LanguageModel<Layer>& one) {
    auto tape = one.tape();
    double sum = one.forward(batch, tape);
    for (std::size_t b = 0; b < 2; ++b) sum += one.transformer.ffns[b].auxiliary_loss(tape.transformer.blocks[b].ffn);
    return sum;
  };
  auto tape = model.tape();
  LanguageModel<Layer> gradient = moe::zeros_like(model);
  model.forward(batch, tape);
  model.backward(batch, tape, gradient);
  const moe::Vector<double> computed = moe::flatten(gradient), values = moe::flatten(model);
  LanguageModel<Layer> other = model;
  double worst = 0;
  const Index stride = MOE_TEST_GRADIENT_ENTRIES > 0 ? 3 : 100;
  for (Index i = 0; i < values.size(); i += stride) {
    const double step = 1e-5;
    const auto at = [&](double value) {
      moe::Vector<double> changed = values;
      changed(i) = value;
      moe::unflatten(changed, other);
      return loss(other);
    };
    worst = (std::max)(worst, std::abs((at(values(i) + step) - at(values(i) - step)) / (2 * step) - computed(i)));
  }
  EXPECT_LT(worst, 1e-6 * computed.cwiseAbs().maxCoeff());
}

TEST(BitsPerByte, OfAModelThatKnowsNothingAreThoseOfTheAlphabet) {
  LanguageModel<Layer> model = double_model(0);
  model.head.weight_OD.setZero();
  Codes codes(1003, 0);
  EXPECT_NEAR(bits_per_byte(model, codes, 10), std::log2(7.0), 1e-9);
}

// What comes next costs the square of its code.
struct Squares {
  struct Tape {
    moe::Matrix<double> logits_TV;
  };
  Tape tape() const { return {}; }
  void forward(const TextBatch& batch, Tape& tape) const {
    tape.logits_TV.resize(batch.tokens(), 100);
    for (Index code = 0; code < 100; ++code)
      tape.logits_TV.col(code).setConstant(-std::numbers::ln2 * static_cast<double>(code * code));
  }
};

TEST(BitsPerByte, TellsEveryByteOnce) {
  Codes codes;
  double sum = 0;
  for (Index code = 0; code < 100; ++code) {
    codes.push_back(code);
    sum += static_cast<double>(code * code);
  }
  for (const Index length : {1, 2, 3, 4, 5, 8, 13, 98, 99})
    EXPECT_NEAR(bits_per_byte(Squares{}, codes, length), sum / 99, 1e-9) << length;
}

TEST(Text, OfLessThanASequenceIsRefused) {
  moe::Random random(1);
  const Codes codes(8, 0);
  EXPECT_NO_THROW(draw_batch(codes, 1, 7, random));
  EXPECT_THROW(draw_batch(codes, 1, 8, random), std::invalid_argument);
  EXPECT_THROW(draw_batch({}, 1, 1, random), std::invalid_argument);
  EXPECT_THROW(bits_per_byte(Squares{}, codes, 8), std::invalid_argument);
  EXPECT_THROW(bits_per_byte(Squares{}, codes, 0), std::invalid_argument);
}

TEST(Text, CodesAreNumberedAsTheyCome) {
  Alphabet alphabet;
  EXPECT_EQ(alphabet.encode("abca"), (Codes{0, 1, 2, 0}));
  EXPECT_EQ(alphabet.encode("cd"), (Codes{2, 3}));
  EXPECT_EQ(alphabet.size(), 4);
  EXPECT_EQ(alphabet.byte(3), 'd');
  EXPECT_THROW(read_file("there is no such file"), std::runtime_error);
}

TEST(Text, BatchesHoldWhatComesNext) {
  moe::Random random(1);
  Codes codes;
  for (int i = 0; i < 50; ++i) codes.push_back(i);
  const TextBatch batch = draw_batch(codes, 20, 4, random);
  for (std::size_t t = 0; t < 80; ++t) EXPECT_EQ(batch.next[t], batch.codes[t] + 1);
}

/// A model with experts that draw (noise), in training.
language_model::ContestantOf<MoeLayer<float>> contestant(Index codes, const TrainingOptions& options = {
                                                                          .length = 8, .sequences = 4}) {
  moe::Random random(5);
  const auto ffn = [&](Index) {
    return MoeLayer<float>{moe::Router<float>::random(3, 8, random), moe::NoisyTopK<float>::zeros(3, 8, {.k = 2}),
                           moe::make_experts<moe::Mlp<float>>(3, 8, 6, random),
                           LossCoefficients{.importance = 0.1}.losses()};
  };
  return {"noisy", small_model<MoeLayer<float>>(codes, 6, ffn), options};
}

TEST(LanguageModelExample, ATrainingThatIsTakenUpAgainEndsAtTheSameBits) {
  Alphabet alphabet;
  const Text text(alphabet.encode(some_text()));
  const auto path = std::filesystem::temp_directory_path() / "moe_language_model_test.safetensors";
  auto whole = contestant(alphabet.size()), first = contestant(alphabet.size()), second = contestant(alphabet.size());
  for (int step = 0; step < 30; ++step) whole.advance(text.train, step / 30.0);
  for (int step = 0; step < 12; ++step) first.advance(text.train, step / 30.0);
  first.save(path.string());
  second.resume(path.string());
  EXPECT_EQ(second.step(), 12);
  second.advance(text.train, 12 / 30.0);
  EXPECT_EQ(second.record.steps, 1);
  EXPECT_GT(second.record.train_bits, 1);  // that of the one step, not a fiftieth of it
  for (int step = 13; step < 30; ++step) second.advance(text.train, step / 30.0);
  EXPECT_EQ(whole.bits(text.held_out), second.bits(text.held_out));
  EXPECT_NE(whole.bits(text.held_out), first.bits(text.held_out));
  EXPECT_LT(whole.bits(text.held_out), std::log2(static_cast<double>(alphabet.size())));
  std::filesystem::remove(path);
}

/// What is said of a file that cannot be gone on from.
std::string complaint(language_model::Contestant& one, const std::string& path) {
  try {
    one.resume(path);
  } catch (const moe::io::FileError& error) {
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    return error.what();
  }
  return "none";
}

TEST(LanguageModelExample, AFileOfAnotherTrainingIsRefused) {
  const auto file = std::filesystem::temp_directory_path() / "moe_language_model_other.safetensors";
  const std::string path = file.string();
  auto one = contestant(20);
  const Codes text(50, 3);
  const double before = one.bits(text);
  for (const std::string step : {"", "-1", "12 ", "x", "99999999999999999999"}) {
    moe::io::save(path, moe::Router<float>::zeros(2, 3), {{"step", step}});
    EXPECT_NE(complaint(one, path).find("its step is '" + step + "'"), std::string::npos) << step;
  }
  moe::io::save(path, moe::Router<float>::zeros(2, 3));
  EXPECT_NE(complaint(one, path).find("its step is ''"), std::string::npos);
  const TrainingOptions same{.length = 8, .sequences = 4};
  for (const auto& [name, change] : std::map<std::string, void (*)(TrainingOptions&)>{
           {"seed", [](TrainingOptions& other) { other.seed = 2; }},
           {"length", [](TrainingOptions& other) { other.length = 9; }},
           {"sequences", [](TrainingOptions& other) { other.sequences = 5; }},
           {"learning rate", [](TrainingOptions& other) { other.learning_rate = 5e-3; }}}) {
    TrainingOptions changed = same;
    change(changed);
    auto other = contestant(20, changed);
    other.advance(text, 0);
    other.save(path);
    EXPECT_NE(complaint(one, path).find("its " + name + " is"), std::string::npos) << name;
  }
  EXPECT_EQ(one.bits(text), before);
  EXPECT_EQ(one.step(), 0);
  std::filesystem::remove(file);
}

TEST(LanguageModelExample, WidthsThatDoNotDivideAreRefused) {
  moe::Random random(1);
  language_model::Settings settings{.size = {.width = 8, .hidden = 6}, .experts = 2, .frequencies = {}};
  EXPECT_NO_THROW(language_model::moe_layer("gshard", settings, random));
  EXPECT_THROW(language_model::deepseek_layer(true, settings, random), std::invalid_argument);
  settings.size.hidden = 7;
  EXPECT_NO_THROW(language_model::moe_layer("switch", settings, random));
  EXPECT_THROW(language_model::moe_layer("gshard", settings, random), std::invalid_argument);
  EXPECT_THROW(language_model::moe_layer("noisy", settings, random), std::invalid_argument);
}

TEST(LanguageModelExample, TheClaimIsJudgedByItsNumbers) {
  const std::vector<double> n_grams{3.5, 2.7};
  const std::vector<language_model::Outcome> all{{"dense", 100, 2.6}, {"switch", 101, 2.64}, {"expert-choice", 100, 2}};
  EXPECT_EQ(language_model::sentence(all[1], all, n_grams),
            "switch: 2.640 bits, 0.040 more than dense, at 101 active parameters (dense: 100); below n-grams of order "
            "1 (3.500), below 2 (2.700).");
  EXPECT_TRUE(language_model::faults(all, n_grams, {.order = 2, .allowed = 0.05}).empty());
  EXPECT_EQ(language_model::faults(all, n_grams, {.order = 2}).size(), 1U);
  EXPECT_EQ(language_model::faults({{"switch", 1, 2.7}}, n_grams, {.order = 2}).size(), 1U);
}

}  // namespace language_model_test
}  // namespace example
