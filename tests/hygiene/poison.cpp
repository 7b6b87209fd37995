// Other people's headers define macros with short names: windows.h (min, max, near, far, small), complex.h (I),
// termios.h (B0), and many a project E, T or N. The library must read through them. The standard library and Eigen
// cannot, so they come first; then each poisoned name is a syntax error, also in a template that nobody uses.
#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iomanip>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numbers>
#include <numeric>
#include <optional>
#include <ostream>
#include <random>
#include <ranges>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#define min(...) @
#define max(...) @
#define isnan(...) @
#define isinf(...) @
#define isfinite(...) @
#define real(...) @
#define imag(...) @
#define near @
#define far @
#define small @
#define B0 @
#define E @
#define I @
#define N @
#define T @

#include "moe/moe.hpp"
