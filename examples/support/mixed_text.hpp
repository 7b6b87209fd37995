// The four texts of data/domains as one, so that batches drawn from it hold English, Spanish and C side by side.
#pragma once

#include <string>

#include "text.hpp"

namespace example {

/// Of each text the first nine tenths to learn from, the rest to be tested on.
inline Text mixed_text(const std::string& data, Alphabet& alphabet) {
  Text all{Codes{}};
  for (const char* const name : {"emma", "genesis", "mateo", "sqlite"}) {
    const Text one(alphabet.encode(read_file(data + "/domains/" + name + ".txt")));
    all.train.insert(all.train.end(), one.train.begin(), one.train.end());
    all.held_out.insert(all.held_out.end(), one.held_out.begin(), one.held_out.end());
  }
  return all;
}

}  // namespace example
