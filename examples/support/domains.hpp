// Four kinds of text for language models: an English novel, the English and the Spanish Bible, C code (data/README.md).
#pragma once

#include <string>

#include "text.hpp"

namespace example {

/// One kind after the other; the last tenth of each is held out.
struct Domains {
  Codes train, held_out;
  Index alphabet = 0;  ///< Different bytes.

  /// From data/domains. Throws std::runtime_error if a file cannot be read.
  explicit Domains(const std::string& folder) {
    Alphabet bytes;
    for (const char* file : {"emma.txt", "genesis.txt", "mateo.txt", "sqlite.txt"}) {
      const Text text(bytes.encode(read_file(folder + "/" + file)));
      train.insert(train.end(), text.train.begin(), text.train.end());
      held_out.insert(held_out.end(), text.held_out.begin(), text.held_out.end());
    }
    alphabet = bytes.size();
  }
};

}  // namespace example
