// LIMoE's entropy losses by modality.
#include <cstdint>
#include <string>
#include <vector>

#include "golden.hpp"
#include "moe/gating/softmax.hpp"
#include "moe/loss/entropy.hpp"

namespace entropy_test {

using namespace golden;
using moe::EntropyLoss;

TEST(Limoe, EntropyLosses) {
  Fixture fixture("limoe_entropy");
  const auto layer = logits_layer(fixture.size("E"), moe::Softmax{});
  const Matrix<double> logits = fixture.matrix<double>("logits");
  const auto labels = fixture.values<std::int64_t>("modality");
  const std::vector<std::int8_t> modality(labels.begin(), labels.end());
  decltype(layer)::Tape tape;
  layer.forward(logits, tape);
  fixture.expect("probs", flat(tape.routing.probabilities_TE));
  for (const int m : {0, 1}) {
    const std::string name = m == 0 ? "image" : "text";
    EntropyLoss loss{.coefficient = 1, .kind = EntropyLoss::Kind::local, .modality = m, .modality_of_token = modality};
    fixture.expect(loss_values("aux.local_" + name, layer, logits, {}, loss));
    loss.kind = EntropyLoss::Kind::global;
    fixture.expect(loss_values("aux.global_" + name, layer, logits, {}, loss));
    loss.threshold = fixture.number("tau_" + name);
    fixture.expect(loss_values("aux.global_thresholded_" + name, layer, logits, {}, loss));
  }
  fixture.finish();
}

}  // namespace entropy_test
