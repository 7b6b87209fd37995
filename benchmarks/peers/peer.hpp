// What an implementation of the layer offers to be compared: its passes, and its gradients for the check.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "problem.hpp"

namespace bench {

enum class Pass { forward, train, step };
inline constexpr std::array all_passes{Pass::forward, Pass::train, Pass::step};

inline std::string name_of(Pass pass) {
  return pass == Pass::forward ? "forward" : pass == Pass::train ? "train" : "step";
}

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

  /// The pass of `train`, and the rest of a training step by the problem's settings: the gradient is tested to be
  /// finite and clipped to a norm, AdamW, and the gradient is 0 again.
  virtual void step(Rows&) { throw std::logic_error("an implementation without an optimiser"); }

  /// The gradient after the first call of `train`; no rows: an expert without tokens has none.
  virtual Rows gradient(Part, Index) { throw std::logic_error("an implementation without gradients"); }

  /// After calls of `step`.
  virtual Rows weight(Part, Index) { throw std::logic_error("an implementation without an optimiser"); }

  void run(Pass pass, Rows& out_TD) {
    pass == Pass::forward ? forward(out_TD) : pass == Pass::train ? train(out_TD) : step(out_TD);
  }
};

/// One way to run an implementation; the fastest of its ways is compared.
struct Way {
  std::string name;
  std::function<std::unique_ptr<Peer>(Problem&, Pass)> make;
};

struct Implementation {
  std::string name;
  std::vector<Way> forward_ways, training_ways, step_ways = {};  ///< Without any, it has no such pass.

  const std::vector<Way>& ways(Pass pass) const {
    return pass == Pass::forward ? forward_ways : pass == Pass::train ? training_ways : step_ways;
  }
};

Implementation openblas_implementation();
Implementation onednn_implementation();
Implementation torch_loop_implementation();
Implementation torch_bmm_implementation();
Implementation torch_step_implementation();

}  // namespace bench
