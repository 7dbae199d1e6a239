// The stored form of a document: a compact causal header, the id and the body, in one value.
//
// The header run-length encodes the visible registers in body order (a document written by one put is one run), names
// sessions by small numbers from a table, and lists apart only what is not visible. A document that was never synced
// pays at most 32 bytes for it.
//
// Threads: free functions, safe from any thread; a SessionTable is guarded by the database's write lock for additions
// and is safe for concurrent reads of numbers already given out.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "engine/document/registers.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// Small numbers for sessions; stored in the catalogue, loaded whole at open (one entry per open of any replica that
// ever wrote here).
class SessionTable {
 public:
  struct Entry {
    SessionKey key;
    bool is_local = false;  // Minted by this directory.
  };
  // The number of `key`, given out now if new (then `Unsaved` lists it until MarkSaved).
  std::uint32_t NumberOf(const SessionKey& key);
  std::uint32_t AddLocal(const SessionKey& key);
  // nullptr for a number never given out. The pointer lives as long as the table.
  const SessionKey* KeyOf(std::uint32_t number) const;
  bool IsLocal(const SessionKey& key) const;
  // Entries given out since the last MarkSaved, with their numbers: to be written in the same transaction as the
  // records that use them.
  std::vector<std::pair<std::uint32_t, Entry>> Unsaved() const;
  void MarkSaved(std::uint32_t number_max);
  void Load(std::uint32_t number, const Entry& entry);
  static ByteString EncodeEntry(const Entry& entry);
  static Result<Entry> DecodeEntry(Bytes bytes);

 private:
  std::uint32_t AddLocked(const Entry& entry);

  mutable std::shared_mutex mutex_;
  std::map<SessionKey, std::uint32_t> numbers_;  // Guarded by mutex_.
  std::map<std::uint32_t, Entry> entries_;       // Guarded by mutex_; never erased, so that KeyOf stays valid.
  std::uint32_t saved_end_ = 0;                  // Guarded by mutex_. All numbers below are saved.
};

// `body` must be Materialise(state).
ByteString EncodeRecord(const DocumentState& state, std::string_view body, SessionTable& sessions);

// The record of a document that never existed before, for its first put: to the byte what DiffPut, JoinGroup,
// Materialise and EncodeRecord make of it, without building the state. `body` is normalised.
struct NewRecord {
  ByteString record;
  std::uint32_t op_last = 0;  // The last op it used; the creation is `first_op`.
};
NewRecord EncodeNewDocument(std::string_view id, std::string_view body, std::uint64_t hlc, const SessionKey& session,
                            std::uint32_t first_op, SessionTable& sessions);

// What every read needs, without decoding the header. Views into `record`.
struct RecordView {
  std::string_view id;
  std::string_view body;  // Empty for a deleted document (a tombstone that is kept for merging).
  bool alive = false;
  std::size_t header_bytes = 0;  // All but id and body.
};
// kCorruption where the frame does not hold, kUnsupported for a version from the future.
Result<RecordView> ViewRecord(Bytes record);
// The whole state. kCorruption where the checksum fails or anything contradicts itself, kUnsupported as above.
Result<DocumentState> DecodeRecord(Bytes record, const SessionTable& sessions);

}  // namespace foreshore
