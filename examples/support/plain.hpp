// Numbers in files and pictures, and those that are read, look the same everywhere.
#pragma once

#include <locale>

namespace example {

/// The stream, for numbers as programs write them, whatever the program's global locale:
///   std::ostringstream text = plain(std::ostringstream());
template <class Stream>
Stream plain(Stream stream) {
  stream.imbue(std::locale::classic());
  return stream;
}

}  // namespace example
