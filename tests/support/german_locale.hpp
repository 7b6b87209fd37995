// A program whose global locale writes 1.234,5: what writes for programs must not mind. A machine may have no such
// locale installed, so it is made here.
#pragma once

#include <ios>
#include <locale>
#include <ostream>
#include <string>

namespace support {

struct GermanNumbers : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

/// While it lives, the global locale is so. Streams that are made meanwhile have it.
class GermanLocale {
 public:
  GermanLocale() : before_(std::locale::global(std::locale(std::locale::classic(), new GermanNumbers))) {}
  GermanLocale(const GermanLocale&) = delete;
  GermanLocale& operator=(const GermanLocale&) = delete;
  ~GermanLocale() { std::locale::global(before_); }

 private:
  std::locale before_;
};

/// All flags that change how numbers and texts look.
inline void set_odd_flags(std::ostream& out) {
  out.setf(std::ios::hex, std::ios::basefield);
  out.setf(std::ios::scientific, std::ios::floatfield);
  out.setf(std::ios::showpos | std::ios::showbase | std::ios::uppercase | std::ios::showpoint);
  out.precision(2);
  out.fill('*');
  out.width(30);
}

}  // namespace support
