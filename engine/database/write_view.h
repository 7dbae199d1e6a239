// A writing transaction over documents: what a ReadView shows, its own writes included, and the writes.
//
// Invariant: a document, its vector codes and its change-log entries commit together or not at all.
//
// Lifetime: goes before the core. Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/database/field_index_writer.h"
#include "engine/database/read_view.h"
#include "storage/blob_store.h"
#include "storage/change_log.h"
#include "storage/writer_gate.h"

namespace foreshore {

class TextOverlay;

// One writing transaction. Rolls back unless Commit returned ok.
class WriteView : public ReadView {
 public:
  ~WriteView() override;

  // `json` is checked here. `base`: the version the caller read; without it, the present one. Local rules (limits,
  // vector dimensions) bind.
  Status Put(const CollectionDefinition& collection, std::string_view id, std::string_view json,
             const Document* base = nullptr);
  Result<std::string> PutNew(const CollectionDefinition& collection, std::string_view json);  // UUIDv7
  Status Patch(const CollectionDefinition& collection, std::string_view id, std::string_view merge_patch);
  Status Delete(const CollectionDefinition& collection, std::string_view id,
                bool even_expired = false);  // kNotFound

  // Joins a change from another replica. A merge always applies: local limits do not bind. `changed` says whether
  // anything new was in it.
  struct ApplyOutcome {
    bool changed = false;
    std::size_t lost_count = 0;
  };
  Result<ApplyOutcome> Apply(const CollectionDefinition& collection, const DocumentChange& change);
  // The ids of other documents that hold a unique value which a document with this body would have; docid 0: a new one.
  Result<std::vector<std::string>> UniqueHolders(const CollectionDefinition& collection, std::int64_t docid,
                                                 std::string_view body);
  // Removes the readings of the range; returns how many.
  Result<std::uint64_t> DeleteReadings(const CollectionDefinition& collection, const ReadingRange& range);

  // Small named values that commit with the transaction: cursors of sync and the like. Keys up to 200 bytes, values up
  // to 2 KiB.
  Status PutSetting(const std::string& key, Bytes value);
  Status DropSetting(const std::string& key);
  // Positions in the change log, such as "sync.push"; the log is kept until each has passed.
  Status MoveLogCursor(const std::string& name, std::int64_t sequence);

  // Vector codes of one document, from the embedding worker. `stored` is an encoded StoredVector, empty to remove.
  Status PutVector(const VectorIndexDefinition& index, std::int64_t docid, Bytes stored);

  // What the predictive worker computed of a document, which then no longer waits for it.
  Status PutPrediction(const PredictiveIndexDefinition& index, std::int64_t docid, const PredictedValue& value);
  Status ForgetPrediction(const PredictiveIndexDefinition& index, std::int64_t docid);
  // The document has a value no longer, or not yet, and what it is made of is here.
  Status PutPredictionPending(const PredictiveIndexDefinition& index, std::int64_t docid);
  // From `next_docid` on documents are still to be looked at; INT64_MAX: none.
  Status PutPredictionFill(const PredictiveIndexDefinition& index, std::int64_t next_docid);

  // Keeps blobs from being collected until this transaction has ended.
  void KeepBlobs(BlobHold hold) { blob_holds_.push_back(std::move(hold)); }
  // Savepoints nest; each call is about the last one that was not released. Rolling back undoes what was written since,
  // in the store and in memory, keeps the savepoint, and takes back a write that failed half-way unless the store
  // itself had failed. Cursors have to be positioned anew. kInvalidArgument where there is none.
  Status MakeSavepoint();
  Status RollbackToSavepoint();
  Status ReleaseSavepoint();

  // Writes the entries of secondary indexes that have gathered; reads through this view do it by themselves.
  Status SettleFieldIndexes() override;

  Status Commit();
  // After Commit, or after a write that failed half-way: every later call is refused.
  bool finished() const { return finished_; }
  // The log sequence of the committed transaction.
  std::int64_t committed_sequence() const { return committed_sequence_; }
  std::int64_t changed_count() const { return changed_count_; }

 private:
  friend class DatabaseCore;
  friend class FieldIndexBuilder;
  friend class ReadView;
  WriteView(DatabaseCore& core, std::shared_ptr<const Catalog> catalog);
  Status VisitOwnVectors(std::uint32_t index_id, const std::function<Status(std::int64_t, Bytes)>& visit) override;
  Result<TextSnapshot*> TextState(const CollectionDefinition& collection) override;
  // Joins `group` into `state`, which lives at `docid` (0: nowhere yet), and stores what comes of it.
  Status JoinAndStore(const CollectionDefinition& collection, DocumentState& state, std::int64_t docid,
                      std::span<const WriteGroup> groups, ChangeOrigin origin, ApplyOutcome* outcome);
  Status StoreNew(const CollectionDefinition& collection, std::string_view id, std::string_view body);
  Status AddNewDocument(const CollectionDefinition& collection, std::string_view id, Bytes record, std::int64_t* docid);
  // What follows a changed body: vectors, fields, the change-log entry.
  Status Follow(const CollectionDefinition& collection, std::int64_t docid, std::string_view old_body,
                std::string_view body, ChangeOrigin origin);
  // write_readings.cc
  Result<ReadingsWriter*> ReadingsOf(const CollectionDefinition& collection);
  Status PutReading(const CollectionDefinition& collection, std::string_view given_id, std::string_view json,
                    std::string* id);
  Status DeleteReading(const CollectionDefinition& collection, std::string_view id);
  Status FlushReadings(const CollectionDefinition& collection) override;
  Status FinishReadings();
  // core_blobs.cc: kNotFound where a local write brings a reference to a blob that is not here.
  Status RefuseAbsentBlobs(std::string_view old_body, std::string_view body);
  Status FollowBlobs(const CollectionDefinition& collection, std::int64_t docid, std::string_view old_body,
                     std::string_view body, ChangeOrigin origin);
  Status FollowOwnVector(const VectorIndexDefinition& index, std::int64_t docid, std::string_view old_body,
                         std::string_view body, ChangeOrigin origin);
  // write_predictions.cc
  Status FollowPredictions(const CollectionDefinition& collection, std::int64_t docid, std::string_view old_body,
                           std::string_view body);
  Status DropPrediction(const PredictiveIndexDefinition& index, std::int64_t docid);
  Status DropPredictionPending(const PredictiveIndexDefinition& index, std::int64_t docid);
  FieldIndexWriter& FieldIndexes();
  // Before anything is written: a local write that a unique index refuses leaves the transaction as it was.
  Status CheckUnique(const CollectionDefinition& collection, std::int64_t docid, std::string_view body);
  void NoteFields(const CollectionDefinition& collection, std::string_view body);
  // Of the local writes, those up to here are at a peer; as it was when this transaction first asked.
  Result<std::uint64_t> AcknowledgedHlc();
  Status KeepRescued(const CollectionDefinition& collection, std::string_view id, const JoinOutcome& outcome);
  Status WriteCatalogChanges(std::shared_ptr<const Catalog>* next);
  void Publish(const std::vector<std::pair<std::uint32_t, SessionTable::Entry>>& unsaved_sessions,
               std::shared_ptr<const Catalog> next);
  std::uint64_t Hlc();
  // Ends the transaction in failure: later calls are refused.
  Status Fail(Status status);

  // What a rollback to a savepoint gives back beside the store's own writes. Every member that a write changes is
  // either copied here (small ones), cut back to its old size (those that only grow), or put back by what was handed to
  // UndoOnRollback when it changed (maps).
  struct SavepointState {
    std::size_t change_count = 0;
    std::size_t undo_count = 0;
    std::map<std::uint32_t, std::vector<std::string>> new_fields;
    std::uint32_t next_op = 0;
    std::int64_t next_docid = 0;
    std::int64_t rescued_delta = 0;
    std::int64_t changed_count = 0;
    bool has_own_rescued = false;
    bool wrote = false;
    std::map<std::uint32_t, ReadingsWriter::Mark> readings;  // By collection id.
  };
  // Called after a change of the members below, with what undoes it; kept only while there is a savepoint.
  template <typename Undo>
  void UndoOnRollback(Undo undo) {
    if (!savepoints_.empty()) undo_.emplace_back(std::move(undo));
  }
  Status CheckSavepoint() const;

  // A member that writes change belongs into SavepointState or is undone by UndoOnRollback.
  std::optional<WriterGatePass> writer_pass_;
  std::unique_ptr<WriteTxn> owned_write_txn_;
  WriteTxn* write_txn_ = nullptr;
  std::unique_ptr<FieldIndexWriter> field_indexes_;  // Made by the first write that needs it.
  // A change of the catalogue that this transaction makes; published before the next writer begins.
  std::shared_ptr<const Catalog> changed_catalog_;
  std::vector<Change> changes_;
  std::map<std::pair<std::uint32_t, std::int64_t>, ByteString>
      own_vectors_;                                               // (index id, docid) -> stored, empty: removed.
  std::map<std::uint32_t, std::vector<std::string>> new_fields_;  // By collection id.
  std::unique_ptr<TextOverlay> text_overlay_;  // The full-text file with this transaction's own documents.
  std::size_t text_overlay_position_ = 0;      // Of changes_, those before it are in the overlay.
  std::vector<BlobHold> blob_holds_;
  std::map<std::uint32_t, std::unique_ptr<ReadingsWriter>> readings_;  // By collection id.
  std::uint64_t hlc_ = 0;
  std::uint32_t next_op_ = 0;
  std::int64_t next_docid_ = 0;
  std::int64_t rescued_delta_ = 0;
  std::optional<std::uint64_t> acknowledged_hlc_;
  std::vector<SavepointState> savepoints_;
  std::vector<std::function<void()>> undo_;  // In the order of the changes.
  bool wrote_ = false;
  bool finished_ = false;
  std::int64_t committed_sequence_ = 0;
  std::int64_t changed_count_ = 0;
};

}  // namespace foreshore
