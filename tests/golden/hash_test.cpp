// Hash layers: a fixed table over token ids.
#include <cstdint>

#include "golden.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/hash.hpp"
#include "moe/router/no_router.hpp"

namespace hash_test {

using namespace golden;

template <class X = moe::Mlp<double>>
void expect_fixture(Fixture& fixture, const moe::Hash& hash) {
  const Layer layer{moe::NoRouter<double>{fixture.size("E")}, hash, experts_of<X>(fixture)};
  typename decltype(layer)::Tape tape;
  const Matrix<double> x = fixture.matrix<double>("x");
  const auto ids = fixture.values<std::int64_t>("token_ids");
  Batch<double> batch = x;
  batch.ids = ids;
  fixture.expect(task_values(layer, batch, fixture.matrix<double>("dy"), tape));
  fixture.finish();
}

TEST(Hash, GivenTable) {
  Fixture fixture("hash_layer");
  expect_fixture(fixture, moe::Hash{{fixture.values<Index>("hash_table")}});
}

TEST(Hash, MoeBert) {
  Fixture fixture("moebert_hash");
  expect_fixture<moe::Mlp<double, moe::Gelu>>(fixture, moe::Hash{{fixture.values<Index>("hash_table")}});
}

TEST(Hash, BalancedTable) {
  Fixture fixture("hash_layer_balanced");
  const auto hash = moe::Hash::balanced(fixture.values<double>("frequency"), fixture.size("E"));
  fixture.expect("hash_table", flat(hash.tables[0]));
  expect_fixture(fixture, hash);
}

}  // namespace hash_test
