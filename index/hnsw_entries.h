// Who each slot of an index is, and in which snapshots it is visible. The first slots may be those of a mapped
// snapshot: of them only the deaths that come take memory.
//
// Threads: Put() must be alone among changes; readers may go on beside it and beside StoreDied(), on slots that they
// were told of.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "index/segmented_rows.h"

namespace foreshore {

inline constexpr std::uint64_t kNeverDied = UINT64_MAX;

struct HnswEntry {
  std::int64_t docid = 0;
  std::uint64_t born = 0;
  std::uint64_t died = kNeverDied;
  bool is_live() const { return died == kNeverDied; }
  bool VisibleAt(std::uint64_t sequence) const { return born <= sequence && sequence < died; }
};

class HnswEntries {
 public:
  HnswEntries() = default;
  // Those that are put lie in unnamed files of the folder; empty: in memory.
  explicit HnswEntries(std::string scratch_folder) : added_(std::move(scratch_folder)) {}

  // Slots 0..count-1 are the documents `docids`, born at `born`; those whose bit is set in `dead_words` died then.
  // All outlive this object. std::bad_alloc where memory is short, here and below.
  void Borrow(const std::int64_t* docids, const std::uint64_t* dead_words, std::uint32_t count, std::uint64_t born) {
    // Untouched memory that reads as zeros.
    died_.reset(static_cast<std::uint64_t*>(std::calloc(count == 0 ? 1 : count, sizeof(std::uint64_t))));
    if (died_ == nullptr) throw std::bad_alloc();
    docids_ = docids;
    borrowed_count_ = count;
    born_ = born;
    for (std::uint32_t word = 0; word < (std::uint64_t{count} + 63) / 64; ++word) {
      for (std::uint64_t left = dead_words[word]; left != 0; left &= left - 1) {
        died_.get()[word * 64 + static_cast<std::uint32_t>(std::countr_zero(left))] = ~born;
        ++borrowed_dead_count_;
      }
    }
  }
  std::uint32_t borrowed_count() const { return borrowed_count_; }
  std::uint32_t borrowed_dead_count() const { return borrowed_dead_count_; }

  // Stores the entry of a slot that is new.
  void Put(std::uint32_t slot, const HnswEntry& entry) { added_.Put(slot - borrowed_count_, entry); }
  // Of a slot that lives.
  void StoreDied(std::uint32_t slot, std::uint64_t sequence) {
    if (slot < borrowed_count_) {
      ++borrowed_dead_count_;
      __atomic_store_n(&died_.get()[slot], ~sequence, __ATOMIC_RELEASE);
    } else {
      __atomic_store_n(&added_[slot - borrowed_count_].died, sequence, __ATOMIC_RELEASE);
    }
  }
  HnswEntry operator[](std::uint32_t slot) const {
    if (slot < borrowed_count_) return {docids_[slot], born_, ~__atomic_load_n(&died_.get()[slot], __ATOMIC_ACQUIRE)};
    const HnswEntry& added = added_[slot - borrowed_count_];
    return {added.docid, added.born, __atomic_load_n(&added.died, __ATOMIC_ACQUIRE)};
  }
  // Of the first `count` slots: what lies in memory, and in unnamed files.
  std::uint64_t memory_bytes(std::uint32_t count) const { return added_.memory_bytes(count - borrowed_count_); }
  std::uint64_t scratch_bytes(std::uint32_t count) const { return added_.scratch_bytes(count - borrowed_count_); }
  void Prefetch(std::uint32_t slot) const {
    if (slot < borrowed_count_) {
      __builtin_prefetch(docids_ + slot);
      __builtin_prefetch(died_.get() + slot);
    } else {
      added_.Prefetch(slot - borrowed_count_);
    }
  }

 private:
  struct Free {
    void operator()(std::uint64_t* words) const { std::free(words); }
  };
  const std::int64_t* docids_ = nullptr;
  std::unique_ptr<std::uint64_t, Free> died_;  // Inverted, so that nothing need be written for what lives.
  std::uint32_t borrowed_count_ = 0;
  std::uint32_t borrowed_dead_count_ = 0;
  std::uint64_t born_ = 0;
  SegmentedArray<HnswEntry> added_;
};

}  // namespace foreshore
