// Every disk operation of a load fails in turn: one run without a fault counts the operations of each kind, then each
// run has one of them fail, and some runs all that follow it too. What a run does and checks is the test's own.
#pragma once

#include <doctest/doctest.h>

#include <cerrno>
#include <functional>
#include <string>

#include "tests/storage/simulated_disk.h"

namespace foreshore {

struct FaultOutcome {
  std::uint64_t runs = 0;
  std::uint64_t met = 0;  // Runs in which something failed: a backend with threads of its own may take another course.
  std::uint64_t failures = 0;
  std::string first_failure;
};

// `run` works on a new disk, calls `lift` so that nothing fails from there on, and checks; it returns what is wrong,
// empty where all is well. Every `stride`th operation before `lift` is taken.
using FaultyWork = std::function<std::string(SimulatedDisk& disk, const std::function<void()>& lift)>;

inline FaultOutcome FailInTurn(DiskOperation operation, std::uint64_t stride, const FaultyWork& run) {
  constexpr std::uint64_t kSeed = 20240131;  // Any number.
  FaultOutcome outcome;
  std::uint64_t total = 0;
  {
    SimulatedDisk disk(kSeed);
    outcome.first_failure = run(disk, [&] { total = disk.operation_count(operation); });
  }
  if (!outcome.first_failure.empty()) {
    ++outcome.failures;
    outcome.first_failure = "without a fault: " + outcome.first_failure;
    return outcome;
  }
  for (std::uint64_t index = 0; index < total; index += stride) {
    SimulatedDisk disk(kSeed + index);
    const bool takes_space = operation == DiskOperation::kCreate || operation == DiskOperation::kWrite;
    const int error_number = takes_space && index % 2 == 0 ? ENOSPC : EIO;
    const bool stays = index / stride % 3 == 2;
    disk.FailAt(operation, index, error_number, stays ? UINT64_MAX : 1);
    const std::string failure = run(disk, [&] { disk.FailAt(operation, 0, 0, 0); });
    ++outcome.runs;
    if (disk.failed_count() > 0) ++outcome.met;
    if (failure.empty()) continue;
    ++outcome.failures;
    if (outcome.first_failure.empty()) {
      outcome.first_failure = std::string(DiskOperationName(operation)) + " number " + std::to_string(index) +
                              (stays ? " and all after it" : "") + " of " + std::to_string(total) + ": " + failure +
                              disk.Trace();
    }
  }
  return outcome;
}

// Every kind of operation; each run must be without a failure, and nearly every one must have met its fault.
inline void CheckAllInTurn(std::uint64_t stride, std::uint64_t runs_min, const FaultyWork& run) {
  std::uint64_t runs = 0;
  std::uint64_t met = 0;
  for (std::size_t number = 0; number < kDiskOperationCount; ++number) {
    const auto operation = static_cast<DiskOperation>(number);
    const FaultOutcome outcome = FailInTurn(operation, stride, run);
    CHECK_MESSAGE(outcome.failures == 0,
                  outcome.failures << " of " << outcome.runs << " runs, first: " << outcome.first_failure);
    MESSAGE(std::string(DiskOperationName(operation))
            << ": " << outcome.runs << " runs, " << outcome.met << " with a failure");
    runs += outcome.runs;
    met += outcome.met;
  }
  CHECK(runs > runs_min);
  CHECK(met * 10 >= runs * 9);
}

}  // namespace foreshore
