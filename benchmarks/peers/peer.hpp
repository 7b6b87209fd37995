// What an implementation of the layer offers to be compared: its passes, and its gradients for the check.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "problem.hpp"

namespace bench {

/// A parameter; those of experts are one matrix (outputs, inputs) for each.
enum class Part { router, w1, w3, w2 };

class Peer {
 public:
  Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  virtual ~Peer() = default;

  /// Inference.
  virtual void forward(Rows& y_TD) = 0;

  /// Forward, and backward from the problem's dy_TD: dx_TD, and the gradients of all parameters.
  virtual void train(Rows&) { throw std::logic_error("an implementation without a training pass"); }

  /// The gradient after the first call of `train`; no rows: an expert without tokens has none.
  virtual Rows gradient(Part, Index) { throw std::logic_error("an implementation without gradients"); }
};

/// One way to run an implementation; the fastest of its ways is compared.
struct Way {
  std::string name;
  std::function<std::unique_ptr<Peer>(const Problem&, bool training)> make;
};

struct Implementation {
  std::string name;
  std::vector<Way> forward_ways, training_ways;  ///< Without any, it has no such pass.
};

Implementation openblas_implementation();
Implementation onednn_implementation();
Implementation torch_loop_implementation();
Implementation torch_bmm_implementation();

}  // namespace bench
