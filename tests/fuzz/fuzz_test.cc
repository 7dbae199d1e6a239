// Goal: no parser is harmed by its seeds or by what comes of them by chance.
// Method: each target runs over its seeds, every prefix of a short one, and mutations from a fixed seed. libFuzzer goes
// further (scripts/fuzz.sh); this finds on every run what came back.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <set>

#include "storage/base/coding.h"
#include "tests/fuzz/fuzz_target.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kSeed = 20'261'126;
constexpr std::size_t kPrefixesMax = 300;

// FORESHORE_FUZZ_FACTOR times as many mutations, for a long run by hand where there is no Clang; FORESHORE_FUZZ_TARGET:
// of this target alone.
std::size_t Factor() {
  const char* factor = std::getenv("FORESHORE_FUZZ_FACTOR");
  return factor == nullptr ? 1 : std::max<std::size_t>(std::strtoull(factor, nullptr, 10), 1);
}
bool IsWanted(std::string_view target) {
  const char* wanted = std::getenv("FORESHORE_FUZZ_TARGET");
  return wanted == nullptr || target == wanted;
}

class Mutator {
 public:
  Mutator(std::vector<ByteString> seeds, std::uint32_t seed) : seeds_(std::move(seeds)), random_(seed) {}

  ByteString Next() {
    ByteString bytes = Pick();
    for (std::size_t i = 0; i < 1 + random_() % 4; ++i) Change(bytes);
    return bytes;
  }

 private:
  const ByteString& Pick() { return seeds_[random_() % seeds_.size()]; }
  std::size_t Place(const ByteString& bytes) {
    // Headers and their lengths lie in front more often than not.
    const std::size_t range = random_() % 3 == 0 ? std::min<std::size_t>(bytes.size(), 64) : bytes.size();
    return random_() % range;
  }
  template <typename T>
  void Write(ByteString& bytes, T value) {
    if (bytes.size() < sizeof(T)) return;
    const std::size_t place = std::min(Place(bytes), bytes.size() - sizeof(T));
    ByteString piece;
    AppendFixed(piece, value);
    bytes.replace(place, sizeof(T), piece);
  }
  // What sizes, counts and dimensions break at.
  std::uint64_t Interesting() {
    constexpr std::uint64_t kValues[] = {
        0,          1,       2,          0x7F,       0x80,       0xFF,       0x7FFF,
        0xFFFF,     0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ULL << 32, (1ULL << 61) + 1,
        1ULL << 63, ~0ULL};
    return kValues[random_() % std::size(kValues)];
  }
  void Change(ByteString& bytes) {
    if (bytes.empty()) bytes.push_back('\0');
    const std::size_t place = Place(bytes);
    const std::size_t length = std::min<std::size_t>(1 + random_() % 32, bytes.size() - place);
    switch (random_() % 9) {
      case 0: bytes[place] = static_cast<char>(bytes[place] ^ (1 << random_() % 8)); break;
      case 1: bytes[place] = static_cast<char>(random_()); break;
      case 2: Write(bytes, static_cast<std::uint16_t>(Interesting())); break;
      case 3: Write(bytes, static_cast<std::uint32_t>(Interesting())); break;
      case 4: Write(bytes, Interesting()); break;
      case 5: bytes.erase(place, length); break;
      case 6: bytes.insert(place, ByteString(bytes, place, length)); break;
      case 7: bytes.resize(place); break;
      default: {
        const ByteString& other = Pick();
        if (!other.empty()) bytes.replace(place, length, other, random_() % other.size(), 1 + random_() % 64);
      }
    }
  }

  std::vector<ByteString> seeds_;
  std::mt19937 random_;
};

TEST_CASE("fuzz: every parser survives its seeds, their prefixes and mutations of them") {
  std::set<std::string_view> names;
  for (const FuzzTarget& target : AllFuzzTargets()) {
    CAPTURE(target.name);
    CAPTURE(kSeed);
    CHECK(names.insert(target.name).second);
    if (!IsWanted(target.name)) continue;
    const std::vector<ByteString> seeds = target.seeds();
    REQUIRE(!seeds.empty());
    std::size_t seeds_taken = 0;
    for (const ByteString& seed : seeds) {
      CHECK(seed.size() <= target.input_bytes_max);
      if (target.run(seed)) ++seeds_taken;
      const std::size_t step = std::max<std::size_t>(seed.size() * seeds.size() / kPrefixesMax, 1);
      if (target.test_count < kPrefixesMax) continue;
      for (std::size_t size = 0; size < seed.size(); size += step) target.run(ByteString(seed, 0, size));
    }
    CHECK(seeds_taken == seeds.size() - target.seeds_refused);
    Mutator mutator(seeds, kSeed);
    std::size_t taken = 0;
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < target.test_count * Factor(); ++i) taken += target.run(mutator.Next()) ? 1 : 0;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    MESSAGE(target.name, ": ", taken, " of ", target.test_count * Factor(), " mutations taken, ", seconds.count(),
            " s");
  }
  CHECK(names.size() >= 20);
}

}  // namespace
}  // namespace foreshore
