// Parsers of foreign or stored bytes, each as one function of bytes that any input must leave unharmed.
//
// The same targets run under libFuzzer (fuzz_main.cc, scripts/fuzz.sh) and, over their seeds and mutations of them, as
// a test with every compiler (fuzz_test.cc). A target aborts where the parser breaks what it promises; crashes, leaks
// and undefined behaviour are the sanitizers' to find.
//
// Threads: one.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"

namespace foreshore {

struct FuzzTarget {
  std::string_view name;
  std::function<std::vector<ByteString>()> seeds;  // Valid inputs, written by our own writers.
  std::function<bool(Bytes)> run;                  // Whether the parser took it.
  std::size_t seeds_refused = 0;   // How many of them the parser does not take, for what lies on the way there.
  std::size_t test_count = 1'000;  // Mutations that fuzz_test tries.
  std::size_t input_bytes_max = 64 * 1024;  // What libFuzzer may grow an input to.
};

std::vector<FuzzTarget> InferenceFuzzTargets();
std::vector<FuzzTarget> TokenizerFuzzTargets();
std::vector<FuzzTarget> IndexFuzzTargets();
std::vector<FuzzTarget> DocumentFuzzTargets();
std::vector<FuzzTarget> DatabaseFuzzTargets();
std::vector<FuzzTarget> ImageFuzzTargets();
std::vector<FuzzTarget> AllFuzzTargets();  // Of this executable.

// Aborts, naming the promise, unless it is kept.
void FuzzCheck(bool is_kept, std::string_view promise);

// Two inputs in one: a little-endian u16 says how long the first is, or as much as there is.
struct FuzzPair {
  Bytes first;
  Bytes second;
};
FuzzPair SplitFuzzInput(Bytes input);
ByteString JoinFuzzInput(Bytes first, Bytes second);

}  // namespace foreshore
