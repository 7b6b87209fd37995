// oneDNN: matmul primitives for every expert, with the activation fused into them and the weights in the order that
// each primitive asks for. They are made once, for the number of tokens that each expert gets here: a program whose
// routing changes with every batch would make primitives, and perhaps repack weights, again and again.
#include <dnnl.hpp>
#include <map>
#include <memory>
#include <moe/core/executor.hpp>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../support/machine.hpp"
#include "per_expert.hpp"

namespace bench {

namespace {

using dnnl::memory;
using Arguments = std::unordered_map<int, memory>;

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::desc plain(Index rows, Index cols) { return {{rows, cols}, memory::data_type::f32, memory::format_tag::ab}; }

/// oneDNN takes no const pointers, even for what it only reads.
memory view(const memory::desc& desc, const float* data) { return {desc, engine(), const_cast<float*>(data)}; }

/// y (n, m) = x (n, k) w (m, k)', and what `after` does with it.
class Product {
 public:
  Product(Index n, Index k, Index m, const dnnl::post_ops& after) : x_(plain(n, k)), y_(plain(n, m)) {
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(after);
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // several threads run the same primitive
    const memory::desc any({k, m}, memory::data_type::f32, memory::format_tag::any);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(engine(), x_, any, y_, attributes);
#else
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(x_, any, y_), attributes, engine());
#endif
    weights_ = description.weights_desc();
    scratchpad_ = description.scratchpad_desc();
    primitive_ = dnnl::matmul(description);
  }

  /// A copy of w in the primitive's order.
  memory pack(moe::ConstMatrixRef<float> w_MK) const {
    const memory::desc transposed({w_MK.cols(), w_MK.rows()}, memory::data_type::f32, memory::format_tag::ba);
    memory from = view(transposed, w_MK.data()), to(weights_, engine());
    dnnl::stream stream(engine());
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
    return to;
  }

  void run(const float* x, const memory& weights, float* y, const float* factor = nullptr) const {
    Arguments arguments{{DNNL_ARG_SRC, view(x_, x)}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, view(y_, y)}};
    if (factor != nullptr) arguments.insert({DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, view(y_, factor)});
    thread_local std::vector<float> scratch;
    scratch.resize((std::max)(scratch.size(), scratchpad_.get_size() / sizeof(float) + 1));
    arguments.insert({DNNL_ARG_SCRATCHPAD, view(scratchpad_, scratch.data())});
    thread_local dnnl::stream stream(engine());
    primitive_.execute(stream, arguments);
    stream.wait();
  }

 private:
  memory::desc x_, y_, weights_, scratchpad_;
  dnnl::matmul primitive_;
};

dnnl::post_ops times(const memory::desc& factor) {
  dnnl::post_ops after;
  after.append_binary(dnnl::algorithm::binary_mul, factor);
  return after;
}

dnnl::post_ops activation_of(Activation activation) {
  using enum dnnl::algorithm;
  const auto algorithm = activation == Activation::swiglu ? eltwise_swish
                         : activation == Activation::relu ? eltwise_relu
                                                          : eltwise_gelu_tanh;
  const float alpha = activation == Activation::swiglu ? 1.0f : 0.0f;  // of swish the slope, of ReLU that below 0
  dnnl::post_ops after;
#if DNNL_VERSION_MAJOR >= 3
  after.append_eltwise(algorithm, alpha, 0);
#else
  after.append_eltwise(1, algorithm, alpha, 0);
#endif
  return after;
}

/// The products of an expert with `rows` tokens.
struct Products {
  Product gate, up, down;

  Products(Index rows, const Shape& shape, Activation activation)
      : gate(rows, shape.width, shape.hidden, activation_of(activation)),
        up(rows, shape.width, shape.hidden, times(plain(rows, shape.hidden))),
        down(rows, shape.hidden, shape.width, {}) {}
};

class OneDnn final : public Peer {
 public:
  OneDnn(const Problem& problem, Threads threads)
      : problem_(problem),
        shape_(problem.shape),
        threads_(threads),
        score_(shape_.tokens, shape_.width, shape_.experts, {}),
        router_(score_.pack(problem.router_ED)),
        experts_(static_cast<std::size_t>(shape_.experts)) {
    const Index slots = shape_.tokens * shape_.k;
    routed_.logits_TE.resize(shape_.tokens, shape_.experts);
    for (Rows* rows : {&gate_NF_, &hidden_NF_}) rows->resize(slots, shape_.hidden);
    y_ND_.resize(slots, shape_.width);
  }

  void forward(Rows& y_TD) override {
    score_.run(problem_.x_TD.data(), router_, routed_.logits_TE.data());
    routed_.decide(shape_);
    routed_.gather(problem_.x_TD, x_ND_);
    if (products_.empty()) make_products();
    for_each_expert(routed_, shape_, threads_, [&](Index e) { expert_forward(e); });
    routed_.combine(y_ND_, y_TD);
  }

 private:
  struct Expert {
    const Products* products = nullptr;
    memory gate, up, down;
  };

  /// Within a parallel region a primitive has one thread, and is to be made for one.
  void make_products() {
    const auto all = static_cast<int>(default_threads());
    if (threads_ == Threads::of_experts) set_threads(1);
    for_each_expert(routed_, shape_, Threads::of_products, [&](Index e) {
      const Index rows = routed_.rows_of(e);
      auto& products = products_[rows];
      if (!products) products = std::make_unique<Products>(rows, shape_, problem_.activation);
      Expert& expert = experts_[static_cast<std::size_t>(e)];
      expert.products = products.get();
      expert.gate = products->gate.pack(problem_.w1(e));
      if (problem_.gated()) expert.up = products->up.pack(problem_.w3(e));
      expert.down = products->down.pack(problem_.w2(e));
    });
    set_threads(all);
  }

  void expert_forward(Index e) {
    const Expert& expert = experts_[static_cast<std::size_t>(e)];
    const Index first = routed_.begin_of(e);
    const float* const x = x_ND_.row(first).data();
    float *const gate = gate_NF_.row(first).data(), *const hidden = hidden_NF_.row(first).data();
    expert.products->gate.run(x, expert.gate, gate);
    if (problem_.gated()) expert.products->up.run(x, expert.up, hidden, gate);
    expert.products->down.run(problem_.gated() ? hidden : gate, expert.down, y_ND_.row(first).data());
  }

  const Problem& problem_;
  const Shape shape_;
  const Threads threads_;
  Product score_;
  memory router_;
  std::map<Index, std::unique_ptr<Products>> products_;  // by number of tokens
  std::vector<Expert> experts_;
  Routed routed_;
  Rows x_ND_, y_ND_, gate_NF_, hidden_NF_;
};

}  // namespace

Implementation onednn_implementation() {
  const auto way = [](const char* name, Threads threads) {
    return Way{name, [threads](const Problem& problem, Pass) { return std::make_unique<OneDnn>(problem, threads); }};
  };
  const dnnl_version_t& version = *dnnl_version();
  return {"oneDNN " + std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' +
              std::to_string(version.patch),
          {way("experts in parallel", Threads::of_experts), way("products in parallel", Threads::of_products)},
          {}};
}

}  // namespace bench
