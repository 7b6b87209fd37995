// EXPECT: moe: this part misspells the visitor of its parameters or buffers: it must be visit_parameters or
// State that would not be saved, beside parameters that are.
#include "moe/io/model_file.hpp"
#include "moe/moe.hpp"

struct Balanced : moe::TopK {
  moe::Vector<float> bias_E = {}, learned_E = {};

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("learned", self.learned_E...);
  }
#ifdef MOE_FIXED
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    f("bias", self.bias_E...);
  }
#else
  template <class F, class... Self>
  static void visit_buffer(F&& f, Self&... self) {
    f("bias", self.bias_E...);
  }
#endif
};

using Layer = moe::Layer<moe::Router<float>, Balanced, moe::Mlp<float>>;

void save(const Layer& layer) { moe::io::save("layer.safetensors", layer); }
