// A snapshot of the database: documents, vector searches and rescued values as of one sequence of the log.
//
// Lifetime: a view and its cursors must go before the core. Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/database/catalog.h"
#include "engine/database/readings.h"
#include "engine/database/rescue.h"
#include "engine/document/record.h"
#include "engine/document/registers.h"
#include "foreshore/database.h"
#include "index/full_text_file.h"
#include "index/vector_filter.h"
#include "storage/base/cancellation.h"
#include "storage/store.h"

namespace foreshore {

class DatabaseCore;

struct Neighbour {
  std::int64_t docid = 0;
  double distance = 0;
};

// Yields neighbours in increasing distance until none is left, as its view sees them (own writes included).
class NeighbourCursor {
 public:
  virtual ~NeighbourCursor() = default;
  virtual Result<std::optional<Neighbour>> Next() = 0;
};

struct NeighbourOptions {
  std::size_t k_hint = 10;  // How many the caller expects to take.
  std::size_t ef = 0;       // 0: chosen.
  double distance_max = std::numeric_limits<double>::infinity();
  // Where set, only these documents.
  std::shared_ptr<const VectorFilter> among = nullptr;
};

// Documents of one collection in docid order, the living only.
class DocumentCursor {
 public:
  // Moves to the next document; false at the end.
  Result<bool> Next();
  // Of a reading: its number, which is unique in its collection.
  std::int64_t docid() const { return readings_ ? readings_->number() : cursor_->integer_key(); }
  // Valid until the next move.
  std::string_view id() const { return view_.id; }
  std::string_view body() const { return view_.body; }
  Bytes record() const { return readings_ ? Bytes() : cursor_->value(); }

 private:
  friend class ReadView;
  DocumentCursor(std::unique_ptr<Cursor> cursor, std::int64_t from, Cancellation* cancellation,
                 std::string expiry_field, std::int64_t now_unix_ms)
      : cursor_(std::move(cursor)),
        from_(from),
        cancellation_(cancellation),
        expiry_field_(std::move(expiry_field)),
        now_unix_ms_(now_unix_ms) {}
  DocumentCursor(std::unique_ptr<ReadingsCursor> readings, Cancellation* cancellation)
      : readings_(std::move(readings)), from_(0), cancellation_(cancellation) {}
  std::unique_ptr<Cursor> cursor_;
  std::unique_ptr<ReadingsCursor> readings_;  // Instead, for a collection of readings: series by series, by time.
  std::string reading_id_;
  std::string reading_body_;
  std::int64_t from_;
  Cancellation* cancellation_;  // May be null.
  std::string expiry_field_;
  std::int64_t now_unix_ms_ = 0;
  bool started_ = false;
  RecordView view_;
};

class ReadView {
 public:
  virtual ~ReadView();
  ReadView(const ReadView&) = delete;
  ReadView& operator=(const ReadView&) = delete;

  const Catalog& catalog() const { return *catalog_; }
  // The time of this snapshot, which decides what has expired: such documents are hidden from everything below but
  // FindDocid and LoadState….
  std::int64_t now_unix_ms() const { return now_unix_ms_; }
  // Hides nothing from here on. For checks, purging and building indexes.
  void ShowExpired() { now_unix_ms_ = INT64_MIN; }
  std::int64_t sequence() const { return sequence_; }
  DatabaseCore& core() const { return core_; }
  ReadTxn& txn() const { return *txn_; }
  // Asked by the view's long loops, and by those of its cursors that are opened from here on. May be null.
  void set_cancellation(Cancellation* cancellation) { cancellation_ = cancellation; }

  // nullopt where there is none, or it is deleted. Valid until the next call on this view.
  Result<std::optional<RecordView>> Get(const CollectionDefinition& collection, std::string_view id);
  Result<std::optional<RecordView>> GetByDocid(const CollectionDefinition& collection, std::int64_t docid);
  Result<std::optional<std::int64_t>> FindDocid(const CollectionDefinition& collection, std::string_view id);
  Result<Document> Read(const CollectionDefinition& collection, std::string_view id);  // kNotFound
  Result<std::unique_ptr<DocumentCursor>> Scan(const CollectionDefinition& collection,
                                               std::int64_t from_docid = INT64_MIN);
  // For plans: how many documents it has from a docid on, or more. Docids grow with time over all collections, so that
  // their span bounds the number from above.
  Result<std::uint64_t> GuessCount(const CollectionDefinition& collection, std::int64_t from_docid);
  // Own writes of this transaction included. `order` other than kAny merges all series by time.
  Result<std::unique_ptr<ReadingsCursor>> ScanReadings(const CollectionDefinition& collection,
                                                       const ReadingsFilter& filter, ReadingsOrder order);
  // kInvalidArgument where the query has another dimension than the index.
  Result<std::unique_ptr<NeighbourCursor>> Nearest(const VectorIndexDefinition& index, std::span<const float> query,
                                                   const NeighbourOptions& options);
  // Over the entries of a secondary index, as field_index.h has them.
  Result<std::unique_ptr<Cursor>> ScanFieldIndex(const FieldIndexDefinition& index);
  // Before a cursor over a secondary index is positioned anew after a write of this transaction.
  virtual Status SettleFieldIndexes() { return Status::Ok(); }
  // Full text as this view sees it, own writes included. kNotFound where the collection has no index, kBusy while it is
  // filled, kInvalidArgument for a malformed query, from here or from the cursor. The cursor goes before the view.
  Result<std::unique_ptr<TextMatchCursor>> MatchText(const CollectionDefinition& collection, const TextQuery& query);
  // FTS5's snippet or highlight; nullopt where the document does not match (any more).
  Result<std::optional<std::string>> TextExcerpt(const CollectionDefinition& collection, const TextQuery& query,
                                                 std::int64_t docid, std::string_view function,
                                                 std::span<const TextArgument> arguments);
  // The newest hlc that the document has seen, which tells its versions apart; 0 where it never was.
  Result<std::uint64_t> RevisionOf(const CollectionDefinition& collection, std::int64_t docid);
  // Whole state, tombstones included; life 0 where the id was never used. For merge and sync.
  Result<DocumentState> LoadState(const CollectionDefinition& collection, std::string_view id);
  Result<std::optional<DocumentState>> LoadStateByDocid(const CollectionDefinition& collection, std::int64_t docid);
  Result<std::vector<LostValue>> LoadRescued(const CollectionDefinition& collection, std::string_view document_id);

 protected:
  friend class DatabaseCore;
  ReadView(DatabaseCore& core, std::shared_ptr<const Catalog> catalog) : core_(core), catalog_(std::move(catalog)) {}
  // The document's place; nullopt where the id was never used.
  struct Found {
    std::int64_t docid;
    Bytes record;
  };
  Result<std::optional<Found>> Find(const CollectionDefinition& collection, std::string_view id);
  // Brings readings of this transaction that are still in memory to where they can be read.
  virtual Status FlushReadings(const CollectionDefinition& collection);
  Result<std::optional<RecordView>> GetReading(const CollectionDefinition& collection, std::string_view id);
  bool IsVisible(const CollectionDefinition& collection, const RecordView& document) const;
  // Calls `visit` with this transaction's own vector writes to the index (empty bytes: removed).
  virtual Status VisitOwnVectors(std::uint32_t index_id, const std::function<Status(std::int64_t, Bytes)>& visit);

  // The state of the full-text file that goes with this view.
  virtual Result<TextSnapshot*> TextState(const CollectionDefinition& collection);
  Result<TextSnapshot*> PinnedText();

  DatabaseCore& core_;
  std::shared_ptr<const Catalog> catalog_;  // Shared with the core and with other views of the same version.
  std::unique_ptr<ReadTxn> owned_txn_;
  ReadTxn* txn_ = nullptr;
  std::int64_t sequence_ = 0;
  std::int64_t now_unix_ms_ = 0;
  bool registered_ = false;  // In the core's list of snapshots, as registered_sequence_.
  std::int64_t registered_sequence_ = 0;
  std::string reading_id_;  // What the RecordView of a reading points to.
  std::string reading_body_;
  Cancellation* cancellation_ = nullptr;
  std::unique_ptr<TextSnapshot> text_snapshot_;
  bool has_own_rescued_ = false;  // This transaction put a value aside.
};

}  // namespace foreshore
