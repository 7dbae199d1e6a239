// Time and randomness as dependencies, so that tests hold them.
//
// Threads: implementations are safe from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "foreshore/bytes.h"

namespace foreshore {

class Clock {
 public:
  virtual ~Clock() = default;
  // Milliseconds since 1970-01-01 UTC, may step back.
  virtual std::int64_t NowUnixMs() = 0;
  // Microseconds from an arbitrary start, never steps back.
  virtual std::int64_t NowMonotonicUs() = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  // `size_bytes` unpredictable bytes.
  virtual ByteString Generate(std::size_t size_bytes) = 0;
  std::uint64_t Next64();
};

std::shared_ptr<Clock> SystemClock();    // Shared: stateless, and handed to every open database.
std::shared_ptr<Random> SystemRandom();  // The same; reads the operating system's generator.

// A clock that moves only when told. Threads: any may look and move it.
class ManualClock : public Clock {
 public:
  explicit ManualClock(std::int64_t unix_ms) : unix_ms_(unix_ms) {}
  std::int64_t NowUnixMs() override { return unix_ms_; }
  std::int64_t NowMonotonicUs() override { return unix_ms_ * 1000; }
  void Advance(std::int64_t ms) { unix_ms_ += ms; }

 private:
  std::atomic<std::int64_t> unix_ms_;
};

// SplitMix64 (Steele, Lea, Flood 2014): repeatable, for tests and simulations only.
class SeededRandom : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  ByteString Generate(std::size_t size_bytes) override;

 private:
  std::uint64_t state_;
};

}  // namespace foreshore
