#include "engine/document/stamp.h"

#include <algorithm>

namespace foreshore {
namespace {

// Where `session` is or belongs in the sorted entries.
template <typename Entries>
auto LowerBound(Entries& entries, const SessionKey& session) {
  return std::lower_bound(entries.begin(), entries.end(), session,
                          [](const VersionVector::Entry& entry, const SessionKey& key) { return entry.session < key; });
}

bool IsBefore(std::uint64_t hlc, std::uint32_t op, std::uint64_t other_hlc, std::uint32_t other_op) {
  return hlc != other_hlc ? hlc < other_hlc : op < other_op;
}

}  // namespace

std::uint64_t HybridClock::Tick() {
  const std::int64_t wall_ms = std::max<std::int64_t>(0, clock_->NowUnixMs() + offset_ms_);
  last_ = std::max(last_ + 1, HlcFromUnixMs(wall_ms));
  return last_;
}

void HybridClock::Observe(std::uint64_t remote) {
  last_ = std::max(last_, remote);
}

bool VersionVector::Contains(const Stamp& stamp) const {
  auto found = LowerBound(entries_, stamp.session);
  if (found == entries_.end() || found->session != stamp.session) return false;
  return !IsBefore(found->hlc, found->op, stamp.hlc, stamp.op);
}

void VersionVector::Add(const Stamp& stamp) {
  auto found = LowerBound(entries_, stamp.session);
  if (found == entries_.end() || found->session != stamp.session) {
    entries_.insert(found, Entry{stamp.session, stamp.hlc, stamp.op});
  } else if (IsBefore(found->hlc, found->op, stamp.hlc, stamp.op)) {
    found->hlc = stamp.hlc;
    found->op = stamp.op;
  }
}

void VersionVector::Join(const VersionVector& other) {
  for (const Entry& entry : other.entries_) Add({entry.hlc, entry.session, entry.op});
}

}  // namespace foreshore
