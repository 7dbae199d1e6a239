// libFuzzer's two functions, for the target that FORESHORE_FUZZ_TARGET names. With FORESHORE_FUZZ_SEEDS set it writes
// the target's seeds into that folder and ends.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "storage/base/file.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

const foreshore::FuzzTarget& Chosen() {
  static const foreshore::FuzzTarget chosen = [] {
    const char* name = std::getenv("FORESHORE_FUZZ_TARGET");
    std::string known;
    for (foreshore::FuzzTarget& target : foreshore::AllFuzzTargets()) {
      if (name != nullptr && target.name == name) return std::move(target);
      known += " " + std::string(target.name);
    }
    std::fprintf(stderr, "FORESHORE_FUZZ_TARGET is \"%s\", expected one of%s\n", name == nullptr ? "" : name,
                 known.c_str());
    std::exit(2);
  }();
  return chosen;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  // Here, since an exit inside of an input would pass for a finding.
  const foreshore::FuzzTarget& target = Chosen();
  const char* folder = std::getenv("FORESHORE_FUZZ_SEEDS");
  if (folder == nullptr) return 0;
  int index = 0;
  for (const foreshore::ByteString& seed : target.seeds()) {
    const std::string path = std::string(folder) + "/seed-" + std::to_string(index++);
    if (!foreshore::WriteFileAtomic(path, seed).ok()) std::exit(1);
  }
  std::exit(0);
}

extern "C" __attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const unsigned char* data,
                                                                             std::size_t size_bytes) {
  if (size_bytes <= Chosen().input_bytes_max) Chosen().run(foreshore::AsBytes(data, size_bytes));
  return 0;
}
