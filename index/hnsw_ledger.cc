#include "index/hnsw_ledger.h"

#include <algorithm>

namespace foreshore {

void HnswLedger::Add(std::uint32_t slot, const HnswEntry& entry, std::uint64_t forgotten_seq) {
  if (entry.is_live()) {
    if (live.emplace(entry.docid, slot).second) ++document_count;
  } else if (entry.died <= forgotten_seq) {
    ++garbage_count;
  } else {
    deaths.push({entry.died, slot});
    superseded.emplace(entry.docid, slot);
  }
}

void HnswLedger::Kill(std::int64_t docid, std::uint32_t first, std::uint32_t end, std::uint64_t sequence,
                      std::uint64_t forgotten_seq) {
  for (std::uint32_t slot = first; slot < end; ++slot) {
    if (sequence > forgotten_seq) {
      superseded.emplace(docid, slot);
      deaths.push({sequence, slot});
    } else {
      ++garbage_count;
    }
  }
  live.erase(docid);
  --document_count;
}

void HnswLedger::Forget(std::uint64_t forgotten_seq, const HnswEntries& entries) {
  for (; !deaths.empty() && deaths.top().sequence <= forgotten_seq; deaths.pop(), ++garbage_count) {
    const std::uint32_t slot = deaths.top().slot;
    const auto [first, last] = superseded.equal_range(entries[slot].docid);
    const auto found = std::find_if(first, last, [slot](const auto& entry) { return entry.second == slot; });
    if (found != last) superseded.erase(found);
  }
}

}  // namespace foreshore
