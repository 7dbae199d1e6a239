// The change log: what was committed, in commit order, one entry per changed object, written in the transaction
// that changed it. Derived indexes and sync read it forward and remember how far they came; it is kept until every
// one of them has passed.
//
// Sequences start at 1 and have no gaps: the single writer assigns them inside its transaction, so sequence order
// is commit order and a transaction that rolls back gives its numbers back.
//
// Threads: the functions take a transaction and follow its rule; the class itself has no mutable state after Open.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "foreshore/status.h"
#include "storage/store.h"

namespace foreshore {

enum class ChangeKind : std::uint8_t {  // Stored: never renumber.
  kDocument = 1,                        // A document was created, changed or deleted.
  kVector = 2,                          // A vector record of `index_id` was written or removed for the document.
  kCatalog = 3,                         // A collection, index or model was created, changed or dropped.
  kModel = 4,                           // A model row changed (it syncs like a document, in a collection of its own).
  kReadings = 5,                        // Readings were added to or removed from a collection; `docid` is the record.
};
enum class ChangeOrigin : std::uint8_t { kLocal = 1, kSync = 2 };  // Stored: never renumber.

struct Change {
  std::int64_t sequence = 0;      // Assigned by Append.
  bool ends_transaction = false;  // Assigned by Append: the last entry of its transaction.
  ChangeKind kind = ChangeKind::kDocument;
  ChangeOrigin origin = ChangeOrigin::kLocal;
  std::uint32_t collection_id = 0;
  std::uint32_t index_id = 0;  // kVector only.
  std::int64_t docid = 0;
};

class ChangeLog {
 public:
  static Result<std::unique_ptr<ChangeLog>> Open(Store& store);

  // Appends one transaction's changes; called once per transaction, at its end. Returns the last sequence. Fails
  // like Put.
  Result<std::int64_t> Append(WriteTxn& txn, std::span<const Change> changes);
  // The last sequence committed in the state that `txn` sees; 0 where there is none.
  Result<std::int64_t> Head(ReadTxn& txn);
  // The first sequence still kept; Head + 1 where all is trimmed.
  Result<std::int64_t> Tail(ReadTxn& txn);
  // Calls `visit` for entries with sequence > `after`, in order, until it returns false. kConflict where the
  // entry after `after` has already been trimmed, or `after` is beyond Head (the store was restored): the reader
  // must rebuild. kCorruption for a gap or a damaged entry. `visit` may read from `txn`.
  Status ReadAfter(ReadTxn& txn, std::int64_t after, const std::function<bool(const Change&)>& visit);

  // Named positions ("index.3", "sync.push"), kept in the store and moved in the caller's transaction.
  Status SetCursor(WriteTxn& txn, const std::string& name, std::int64_t sequence);
  Status DropCursor(WriteTxn& txn, const std::string& name);
  Result<std::optional<std::int64_t>> GetCursor(ReadTxn& txn, const std::string& name);
  // Removes the entries that every named cursor has passed (all of them where there is no cursor), at most
  // `entry_count_max` at a time. Returns how many.
  Result<std::int64_t> Trim(WriteTxn& txn, std::int64_t entry_count_max);

 private:
  ChangeLog(KeyspaceId log, KeyspaceId cursors) : log_(log), cursors_(cursors) {}
  Result<std::int64_t> StoredTail(ReadTxn& txn);
  Result<std::int64_t> SlowestCursor(ReadTxn& txn);

  KeyspaceId log_;      // "log": sequence -> entry.
  KeyspaceId cursors_;  // "log.cursors": name -> sequence; also the tail, under a name that no caller may use.
};

}  // namespace foreshore
