#include "tests/fuzz/fuzz_target.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "storage/base/coding.h"

namespace foreshore {

// Which groups an executable has is the build's to say (CMakeLists.txt).
std::vector<FuzzTarget> AllFuzzTargets() {
  std::vector<FuzzTarget> all;
  for (auto* const some : {FORESHORE_FUZZ_GROUPS}) {
    std::vector<FuzzTarget> targets = some();
    std::move(targets.begin(), targets.end(), std::back_inserter(all));
  }
  return all;
}

void FuzzCheck(bool is_kept, std::string_view promise) {
  if (is_kept) return;
  std::fprintf(stderr, "broken promise: %.*s\n", static_cast<int>(promise.size()), promise.data());
  std::abort();
}

FuzzPair SplitFuzzInput(Bytes input) {
  if (input.size() < 2) return {};
  const std::size_t first_bytes = std::min<std::size_t>(LoadFixed<std::uint16_t>(input.data()), input.size() - 2);
  return {input.substr(2, first_bytes), input.substr(2 + first_bytes)};
}

ByteString JoinFuzzInput(Bytes first, Bytes second) {
  FuzzCheck(first.size() <= 0xFFFF, "the first input of a seed fits");
  ByteString input;
  AppendFixed(input, static_cast<std::uint16_t>(first.size()));
  return input.append(first).append(second);
}

}  // namespace foreshore
