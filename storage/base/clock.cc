#include "storage/base/clock.h"

#include <sys/random.h>

#include <chrono>
#include <cstdlib>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

class RealClock : public Clock {
 public:
  std::int64_t NowUnixMs() override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  }
  std::int64_t NowMonotonicUs() override {
    using namespace std::chrono;
    return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
  }
};

class RealRandom : public Random {
 public:
  ByteString Generate(std::size_t size_bytes) override {
    ByteString bytes(size_bytes, '\0');
    std::size_t filled = 0;
    while (filled < size_bytes) {
      const ssize_t count = getrandom(bytes.data() + filled, size_bytes - filled, 0);
      // Without randomness, identities could collide; there is nothing safe to go on with.
      if (count < 0) std::abort();
      filled += static_cast<std::size_t>(count);
    }
    return bytes;
  }
};

}  // namespace

std::uint64_t Random::Next64() {
  return LoadFixed<std::uint64_t>(Generate(8).data());
}

std::shared_ptr<Clock> SystemClock() {
  return std::make_shared<RealClock>();
}
std::shared_ptr<Random> SystemRandom() {
  return std::make_shared<RealRandom>();
}

ByteString SeededRandom::Generate(std::size_t size_bytes) {
  ByteString bytes;
  while (bytes.size() < size_bytes) {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
    AppendFixed(bytes, mixed ^ (mixed >> 31));
  }
  bytes.resize(size_bytes);
  return bytes;
}

}  // namespace foreshore
