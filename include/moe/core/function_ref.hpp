// A reference to something that can be called, without its type: what takes one is compiled once.
#pragma once

#include <memory>
#include <type_traits>

#include "moe/core/version.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class Signature>
class FunctionRef;

/// Refers to a function or an object, which must outlive it; a call changes the object if that is not const.
template <class... Args>
class FunctionRef<void(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT(google-explicit-constructor)
      : call_([](const void* object, Args... args) {
          using Object = std::remove_reference_t<F>;
          if constexpr (std::is_function_v<Object>)
            reinterpret_cast<Object*>(const_cast<void*>(object))(args...);
          else
            (*static_cast<Object*>(const_cast<void*>(object)))(args...);
        }) {
    if constexpr (std::is_function_v<std::remove_reference_t<F>>)
      object_ = reinterpret_cast<const void*>(std::addressof(f));
    else
      object_ = std::addressof(f);
  }

  void operator()(Args... args) const { call_(object_, args...); }

 private:
  const void* object_;
  void (*call_)(const void* object, Args... args);
};

}  // namespace detail

MOE_NAMESPACE_END
