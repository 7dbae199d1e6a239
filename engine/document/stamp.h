// When and by whom a register was written: hybrid logical time, replica, session, operation.
//
// Every open of a database mints a random session, so two copies of one directory never mint equal stamps.
// HLC after Kulkarni et al. 2014 (https://cse.buffalo.edu/tech-reports/2014-04.pdf): milliseconds in the upper 48
// bits, a counter in the lower 16.
//
// Threads: Stamp, SessionKey and VersionVector are values. A HybridClock is guarded by its owner's write lock.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "storage/base/clock.h"
#include "storage/database_directory.h"

namespace foreshore {

struct SessionKey {
  ReplicaId replica{};
  std::uint64_t session = 0;  // Random, never 0.

  friend auto operator<=>(const SessionKey&, const SessionKey&) = default;
};

// A total order over all writes of all replicas: (hlc, replica, session, op).
struct Stamp {
  std::uint64_t hlc = 0;
  SessionKey session;
  std::uint32_t op = 0;  // The write's number inside its transaction.

  friend auto operator<=>(const Stamp&, const Stamp&) = default;
};

inline std::int64_t HlcUnixMs(std::uint64_t hlc) {
  return static_cast<std::int64_t>(hlc >> 16);
}
inline std::uint64_t HlcFromUnixMs(std::int64_t unix_ms) {
  return static_cast<std::uint64_t>(unix_ms) << 16;
}

// A remote clock further ahead than this is refused (design section 7).
inline constexpr std::int64_t kClockSkewMsMax = 120'000;

class HybridClock {
 public:
  HybridClock(std::shared_ptr<Clock> clock, std::uint64_t last) : clock_(std::move(clock)), last_(last) {}
  // A time later than every earlier Tick and Observe.
  std::uint64_t Tick();
  // Takes note of a remote time, already checked against kClockSkewMsMax.
  void Observe(std::uint64_t remote);
  std::uint64_t last() const { return last_; }
  // Added to the wall clock from now on, after a peer said that ours is off.
  void SetOffsetMs(std::int64_t offset_ms) { offset_ms_ = offset_ms; }

 private:
  std::shared_ptr<Clock> clock_;  // Shared with the database that owns both.
  std::uint64_t last_;
  std::int64_t offset_ms_ = 0;
};

// Which writes of each session have been seen: all up to and including (hlc, op). Entries sorted by session.
class VersionVector {
 public:
  struct Entry {
    SessionKey session;
    std::uint64_t hlc = 0;
    std::uint32_t op = 0;
    friend auto operator<=>(const Entry&, const Entry&) = default;
  };

  bool Contains(const Stamp& stamp) const;
  void Add(const Stamp& stamp);  // Raises the session's entry to at least the stamp.
  void Join(const VersionVector& other);
  const std::vector<Entry>& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }

  friend bool operator==(const VersionVector&, const VersionVector&) = default;

 private:
  std::vector<Entry> entries_;
};

}  // namespace foreshore
