// What a refused call must do: throw std::invalid_argument, and say what is wrong, with its numbers.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

namespace support {

/// Fails unless call() throws std::invalid_argument whose message contains all the parts.
template <class Call>
void expect_invalid(Call&& call, std::initializer_list<std::string_view> parts) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    const std::string message = error.what();
    for (const std::string_view part : parts)
      EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
    return;
  }
  ADD_FAILURE() << "nothing was refused";
}

}  // namespace support
