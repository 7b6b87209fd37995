#include "moe/core/visitors.hpp"

#include <gtest/gtest.h>

#include <any>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/weights.hpp"

namespace moe {
namespace visitors_test {

struct Named {
  Matrix<float> weight;

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("weight", self.weight...);
  }
};

struct NothingLearned : Named {
  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
};

struct State {
  Vector<float> bias;

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    f("bias", self.bias...);
  }
};

static_assert(detail::NamesParameters<Named> && detail::NamesParameters<const Named>);
static_assert(!detail::NamesBuffers<Named> && detail::NamesBuffers<State> && !detail::NamesParameters<State>);

// A part that names something, or keeps nothing, is passed.
struct Settings {
  int k = 1;
  double rate = 0.5;
  std::string name = {};
  std::vector<double> list = {};
  std::optional<int> most = {};
  std::function<void()> hook = {};
  std::any whatever = {};
};

class Built {
 public:
  explicit Built(int k) : k_(k) {}
  int k() const { return k_; }

 private:
  int k_;
};

template <class... Part>
constexpr bool all_pass = (!detail::keeps_unnamed_matrices<Part>() && ...);
static_assert(all_pass<Named, NothingLearned, State, Settings, Built, int, Matrix<float>, Weights<double>>);

// Wherever in an aggregate a matrix is, it is seen.
struct OfMatrix {
  Matrix<float> weight;
};
struct OfWeightsAtTheEnd {
  int a[2] = {};
  bool b = true, c = false;
  double d = 0, e = 0, f = 0;
  std::optional<double> g = {};
  std::function<void()> h = {};
  std::unique_ptr<int> i = {};
  std::string j = {};
  Weights<double> weight = {};
};
struct OfFixedSize {
  int k;
  Eigen::Matrix<float, 2, 2> weight;
};
struct OfPart {
  double scale;
  Named part;
};
struct OfParts {
  std::vector<Named> parts;
};
struct OfListsOfVectors {
  std::vector<std::vector<Vector<float>>> lists;
};
struct OfOptional {
  std::optional<Matrix<float>> weight;
};
struct OfArray {
  std::array<Vector<float>, 2> weights;
};
struct OfReference {
  const int& k;
  Matrix<float> weight;
};
struct Derived : OfMatrix {
  int k = 1;
};
struct OfNumbers {
  int k;
  double x;
};
struct DerivedWithOwn : OfNumbers {
  Matrix<float> weight;
};

template <class... Part>
constexpr bool none_passes = (detail::keeps_unnamed_matrices<Part>() && ...);
static_assert(none_passes<OfMatrix, OfWeightsAtTheEnd, OfFixedSize, OfPart, OfParts, OfListsOfVectors, OfOptional,
                          OfArray, OfReference, Derived, DerivedWithOwn>);

// Of a class with private fields it is enough that it keeps memory, or is an expert or router with something in it.
class Closed {
 public:
  explicit Closed(Matrix<float> weight) : weight_(std::move(weight)) {}
  Index size() const { return weight_.size(); }

 private:
  Matrix<float> weight_;
};
class ClosedExpert : public Built {
 public:
  using Built::Built;
  struct Tape {};
};
static_assert(none_passes<Closed, ClosedExpert>);

TEST(Visitors, AreTakenForCalledWithoutBeingInstantiated) {
  Named part{Matrix<float>::Ones(1, 2)};
  Named::visit_parameters(detail::AnyVisitor{}, part, part);
  detail::check_visitors<Named>();
  EXPECT_EQ(part.weight.sum(), 2);
}

}  // namespace visitors_test
}  // namespace moe
