// The content of one file on a simulated medium: what programs see, what the last sync made certain, and what a power
// cut may leave of the difference.
//
// The model. Every unsynced sector of 512 bytes by itself is kept, dropped or torn at a random byte; unsynced growth or
// truncation is kept, lost or stops between; what grew and was not written holds zeros or noise. Bytes that no write
// touched never change. After a failed sync later syncs say ok and yet leave its sectors out until they are written
// again, as Linux does, which marks pages clean whose writing back failed. A truncation that stops between is harsh on
// purpose: journalling file systems (ext4, XFS, NTFS) log the new size in one step, but FAT, which many small devices
// have on their cards, writes the entry's size and each sector of the cluster chain on its own, and its repair keeps
// the part of the chain that is whole.
//
// Threads: none of its own; its disk's mutex guards it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <string_view>

namespace foreshore {

struct UnsyncedFile {
  static constexpr std::size_t kSectorBytes = 512;

  std::string live;                // What programs see.
  std::string durable;             // What the last sync left on the medium.
  std::set<std::size_t> dirty;     // Sectors written since.
  std::set<std::size_t> given_up;  // Those of them that a failed sync has marked clean.

  void Write(std::size_t begin, std::string_view bytes) {
    if (live.size() < begin + bytes.size()) live.resize(begin + bytes.size());
    live.replace(begin, bytes.size(), bytes);
    MarkDirty(begin, begin + bytes.size());
  }
  void Truncate(std::size_t size) {
    // Growing again later must show zeros there, so the cut-off part counts as written.
    MarkDirty(size, live.size());
    live.resize(size);
  }
  void Sync() {
    durable.resize(live.size());
    for (const std::size_t sector : dirty) {
      if (given_up.contains(sector)) continue;
      const std::size_t begin = sector * kSectorBytes;
      if (begin >= live.size()) continue;
      const std::size_t length = std::min(kSectorBytes, live.size() - begin);
      durable.replace(begin, length, live, begin, length);
    }
    dirty = given_up;
  }
  void FailSync() { given_up = dirty; }
  // What is there when the power returns.
  std::string Survivor(std::mt19937_64& random, bool keep_everything) const {
    const auto below = [&](std::uint64_t bound) { return random() % bound; };
    std::string content = durable;
    std::size_t size = live.size();
    if (!keep_everything && size != durable.size()) {
      const std::size_t low = std::min(size, durable.size());
      const std::size_t high = std::max(size, durable.size());
      const std::uint64_t choice = below(4);
      if (choice == 0) size = durable.size();
      if (choice == 1) size = low + below(high - low + 1);
    }
    // Space that was given to the file and never written holds zeros, or whatever was there.
    const std::size_t grown_from = content.size();
    content.resize(size);
    if (size > grown_from && below(2) == 0) {
      for (std::size_t at = grown_from; at < size; ++at) content[at] = static_cast<char>(random());
    }
    for (const std::size_t sector : dirty) {
      const std::size_t begin = sector * kSectorBytes;
      if (begin >= size || begin >= live.size()) continue;
      std::size_t length = std::min({kSectorBytes, size - begin, live.size() - begin});
      if (!keep_everything) {
        const std::uint64_t choice = below(3);
        if (choice == 0) continue;
        if (choice == 1) length = below(length + 1);
      }
      content.replace(begin, length, live, begin, length);
    }
    return content;
  }

 private:
  void MarkDirty(std::size_t begin, std::size_t end) {
    for (std::size_t sector = begin / kSectorBytes; sector * kSectorBytes < end; ++sector) {
      dirty.insert(sector);
      given_up.erase(sector);
    }
  }
};

}  // namespace foreshore
