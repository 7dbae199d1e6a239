// What BEGIN opens. A deferred transaction takes nothing at once: its first statement that reads takes a snapshot,
// which later ones share, and its first statement that writes takes the write lock. So one that only reads neither
// waits for a writer nor holds one up.
//
// Taking the lock after reading fails with kConflict where documents were committed in between, because what was read
// may no longer be so. The transaction can then still read its snapshot, and be rolled back.
//
// Lifetime: goes before the core; views live until it goes. Threads: one at a time.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "engine/database/core.h"
#include "engine/database/named_savepoints.h"

namespace foreshore {

class SqlTransaction {
 public:
  // `begun_by_savepoint`: releasing the outermost savepoint commits.
  SqlTransaction(DatabaseCore& core, Cancellation& cancellation, bool begun_by_savepoint)
      : core_(core), cancellation_(cancellation), begun_by_savepoint_(begun_by_savepoint) {}
  SqlTransaction(const SqlTransaction&) = delete;
  SqlTransaction& operator=(const SqlTransaction&) = delete;

  // What a statement reads that begins now.
  Result<ReadView*> Reader();
  // kBusy after `busy_timeout`. `keeps_snapshot`: statements that began before still read from it.
  Result<WriteView*> Writer(std::chrono::milliseconds busy_timeout, bool keeps_snapshot);
  // Null as long as nothing asked for Writer.
  WriteView* writer() { return writer_.get(); }

  Status MakeSavepoint(std::string_view name) { return savepoints_.Make(writer_.get(), name); }
  Status RollbackTo(std::string_view name) { return savepoints_.RollbackTo(writer_.get(), name); }
  Status Release(std::string_view name) { return savepoints_.Release(writer_.get(), name); }
  // Whether releasing `name` would end the transaction.
  bool EndsWith(std::string_view name) const { return begun_by_savepoint_ && savepoints_.IsOutermost(name); }

  Status Commit();

 private:
  // kConflict where a document was committed after the snapshot.
  Status CheckUnchanged(WriteView& now) const;

  DatabaseCore& core_;
  Cancellation& cancellation_;
  const bool begun_by_savepoint_;
  std::unique_ptr<ReadView> snapshot_;
  std::unique_ptr<WriteView> writer_;
  NamedSavepoints savepoints_;
};

}  // namespace foreshore
