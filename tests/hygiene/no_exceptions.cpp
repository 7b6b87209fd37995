// Compiled with -fno-exceptions -fno-rtti: a layer trains, and a mistake ends the program with its message.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "hygiene/train_once.hpp"

int main() {
  const double number = moe::hygiene::train_once(1);
  std::printf("trained: %g\n", number);
  std::signal(SIGABRT, [](int) { std::_Exit(EXIT_SUCCESS); });
  moe::Router<float>::zeros(0, 8);
  std::puts("a router without experts was accepted");
  return EXIT_FAILURE;
}
