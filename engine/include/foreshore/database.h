// The embedded database: documents, vectors and models in one directory.
//
//   auto db = *foreshore::Database::Open("plant.foreshore", {.create = true});
//   db->CreateCollection("notes");
//   db->Put("notes", "n1", R"({"text":"pump overheating","site":"A"})");
//   auto rows = db->Query("SELECT id, body ->> '$.text' FROM notes WHERE site = 'A'");
//
// Threads: a Database may be used from any thread. A Transaction or Statement belongs to one thread at a time.
// One process opens a directory at a time; a second open returns kBusy and says who holds it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/attachment.h"
#include "foreshore/collection.h"
#include "foreshore/database_options.h"
#include "foreshore/hnswlib_import.h"
#include "foreshore/model.h"
#include "foreshore/predictive_index.h"
#include "foreshore/runtime.h"
#include "foreshore/sql.h"
#include "foreshore/status.h"
#include "foreshore/subscription.h"
#include "foreshore/text_index.h"
#include "foreshore/vector_metric.h"
#include "foreshore/vector_upkeep.h"

namespace foreshore {

class DatabaseCore;
class Transaction;

// A vector field of a collection. With a model, `field` is filled on write from the text at `source_paths` (joined by
// a line break); without one, documents carry it as a JSON array of `dimension` numbers, or as an array of 1..64 such
// arrays: several vectors, of which a search counts the nearest.
struct VectorFieldOptions {
  std::string field = {};
  std::uint32_t dimension = 0;  // 2..4096; may be 0 with a model.
  VectorMetric metric = VectorMetric::kCosine;
  std::string model = {};
  std::vector<std::string> source_paths = {};          // "text", "site.name".
  VectorPrecision precision = VectorPrecision::kInt8;  // kInt4 and kInt1 are not for hnswlib's graph.
  // M of the HNSW paper, 4..64. More finds better and costs memory and building: 16 for most, 24 to 32 for vectors that
  // fill all of their dimensions, such as those of single words.
  std::uint32_t links_per_node = 16;
  VectorGraphKind graph = VectorGraphKind::kFlat;
  std::string adapter = {};  // One of the model's LoRA adapters, which makes the vectors; empty: the model alone.
};

// A secondary index over paths of a collection's documents. SQL uses it where it helps.
struct FieldIndexOptions {
  std::vector<std::string> paths = {};  // In order: "site", "site.name"; "tags[]" has an entry for each element.
  bool unique = false;                  // Binds local writes; a merge always applies, and its conflicts are listed.
  std::string where = {};               // Only documents that pass: "size > 3 AND site IS NOT NULL".
  std::string name = {};                // Empty: the paths, joined by commas.
};

// A unique value that two documents have, because a merge brought the second one.
struct UniqueConflict {
  std::string index;              // "notes.email"
  std::string document_id;        // The document that came.
  std::string other_document_id;  // The one that had the value before.
};

enum class IndexKind : std::uint8_t { kVector, kField, kPredictive };

struct IndexInfo : VectorUpkeepInfo {
  std::string name;  // "notes.embedding", "notes.site,size"
  std::string collection;
  IndexKind kind = IndexKind::kVector;
  FieldIndexOptions fields;           // kField.
  std::uint64_t entry_count = 0;      // kField: as of the last statistics.
  std::uint64_t conflict_count = 0;   // kField: unique values that merges brought twice.
  PredictiveIndexOptions predictive;  // kPredictive, with model_version, adapter_version, entry_count, pending_count.
  std::uint64_t failed_count = 0;     // kPredictive: documents whose input the model does not take.
  std::string failure;                // kPredictive: of one of them, why, and its id.
  std::uint64_t awaited_count = 0;    // kPredictive: documents whose attachment's content is not here yet.
  bool is_ready = true;               // False: still being built, and not used.
  VectorFieldOptions options;         // kVector, as all that follows.
  std::uint64_t vector_count = 0;
  std::uint64_t pending_count = 0;  // Documents whose vector is missing or stale.
  // What it keeps in memory, and what lies in mapped files, which is there as far as it is read and there is room.
  std::uint64_t memory_bytes = 0;
  std::uint64_t mapped_bytes = 0;
  std::string strategy;  // How a search would run now, as EXPLAIN prints it.
  // What TuneVectorIndex() chose last, and the recall that it measured; 0: never tuned.
  std::uint32_t ef = 0;
  double recall = 0;
  // With a model, of what the vectors are by now: the model's version, and the adapter's; hexadecimal.
  std::string model_version;
  std::string adapter_version;
  // While the model's row names other weights, what they are: documents are being embedded by them into another index,
  // which takes this one's place once it has them all; counted in pending_count too. Empty: nothing is being replaced.
  std::string next_model_version;
  std::string next_adapter_version;
  std::uint64_t next_vector_count = 0;
  // "snapshot", "snapshot and log" or "rebuilt": how the graph came up at open; "imported": it came from a file.
  std::string opened_from;
};

struct VectorTuningResult {
  std::uint32_t ef = 0;  // Candidates that a search for ten neighbours keeps from now on.
  double recall = 0;     // The share of the true ten nearest that it finds: of `sample_count` queries.
  double search_us = 0;  // What one search in the graph takes, microseconds.
  std::size_t sample_count = 0;
  std::string sample_kind;  // "recent queries" or "stored vectors".
};

struct TextIndexInfo {
  std::string collection;
  TextIndexOptions options;
  std::uint64_t document_count = 0;  // Documents with text that are in.
  std::uint64_t pending_count = 0;   // About how many are still to be looked at; searches wait for them, or say busy.
};

// A document as it was read, for writing back: put compares with this version, so that another device's edit that
// arrived in between is kept.
class Document {
 public:
  const std::string& id() const { return id_; }
  const std::string& body() const { return body_; }

 private:
  friend class DatabaseCore;
  friend class WriteView;
  friend class ReadView;
  std::string id_;
  std::string body_;
  std::string seen_;  // The encoded version vector.
};

enum class SearchMode : std::uint8_t {
  kVector,  // By meaning.
  kText,    // By words.
  kHybrid,  // By both, fused.
};

struct SearchRequest {
  SearchMode mode = SearchMode::kVector;
  std::string field = {};          // May be empty where the collection has one vector field.
  std::string text = {};           // Embedded with the field's model, or
  std::vector<float> vector = {};  // the query itself.
  std::size_t k = 10;
  std::string match = {};  // kText and kHybrid: FTS5's query language; empty: any word of `text`.
  std::string where = {};  // A SQL expression over the collection's columns, or empty.
};
struct SearchHit {
  std::string id;
  double distance = 0;  // 0 where only its words were found.
  std::string body;
  double score = 0;  // kText and kHybrid: higher is better.
};

struct CollectionStats {
  std::string name;
  std::uint64_t document_count = 0;
};
struct DatabaseStats {
  std::string storage;
  std::uint64_t disk_bytes = 0;
  std::uint64_t blob_count = 0;
  std::uint64_t blob_bytes = 0;
  std::int64_t last_sequence = 0;  // Of the change log.
  std::int64_t log_entry_count = 0;
  std::uint64_t rescued_count = 0;
  std::uint64_t pending_embedding_count = 0;
  std::uint64_t pending_prediction_count = 0;  // Of predictive indexes.
  std::uint64_t failed_prediction_count = 0;   // Documents whose input a model does not take; see IndexInfo.
  std::uint64_t subscription_count = 0;
  std::string replica;           // Hexadecimal identity of this directory.
  bool identity_forked = false;  // This open found the directory copied or its store restored.
  std::vector<CollectionStats> collections;
  std::vector<IndexInfo> indexes;
  std::vector<TextIndexInfo> text_indexes;
};

// A value that lost against a concurrent write of another device and was kept aside.
struct RescuedValue {
  std::string rescue_id;  // Hexadecimal, equal on every replica.
  std::string collection;
  std::string document_id;
  std::string path;   // "site.name"
  std::string value;  // JSON
};

struct VerifyReport {
  std::uint64_t document_count = 0;
  std::uint64_t vector_count = 0;
  std::uint64_t index_entry_count = 0;
  std::uint64_t blob_count = 0;
  std::uint64_t wanted_blob_count = 0;  // Referred to by documents that came by sync, and not here yet.
  std::vector<std::string> problems;    // Empty: everything agrees.
};

class Database {
 public:
  static Result<std::unique_ptr<Database>> Open(const std::string& path, const DatabaseOptions& options = {});
  // Closes; errors are logged. Call Close to see them.
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Stops background work, writes the derived indexes' snapshots and gives up the lock. Later calls return kCancelled.
  Status Close();

  // Names: letters, digits and '_', first a letter, at most 48; case-insensitively unique; "_…" is reserved.
  Status CreateCollection(const std::string& name, const CollectionOptions& options = {});
  Result<std::vector<std::string>> ListCollections();
  // Documents of the collection expire at the time in this top-level field: a number, seconds since 1970 (from 1e11 on,
  // milliseconds), or a text as of ISO 8601, UTC where it names no offset. From then on they are hidden from reads,
  // statements and searches, and are deleted later (ExpiryPurge). Another value, or none: the document does not expire.
  // Empty: nothing expires. Each device names the field for itself; the times merge and sync as any other value.
  // Collections of readings have a retention instead (kUnsupported).
  Status SetExpiryField(const std::string& collection, const std::string& field);

  // One document, one transaction each. `json` is an object; ids are 1..255 bytes of UTF-8.
  // Put writes only what differs from the document that is there (or from `base`, the version the caller read).
  Status Put(const std::string& collection, const std::string& id, std::string_view json,
             const Document* base = nullptr);
  // With a fresh UUIDv7 for an id, which is returned.
  Result<std::string> PutNew(const std::string& collection, std::string_view json);
  Result<std::string> Get(const std::string& collection, const std::string& id);  // kNotFound
  Result<Document> Read(const std::string& collection, const std::string& id);    // kNotFound
  Status Patch(const std::string& collection, const std::string& id,
               std::string_view merge_patch);                           // RFC 7396; kNotFound
  Status Delete(const std::string& collection, const std::string& id);  // kNotFound
  // In order of insertion, in one snapshot, until `visit` returns false.
  Status Scan(const std::string& collection,
              const std::function<bool(std::string_view id, std::string_view body)>& visit);

  // Attachments (attachment.h). The document must exist; an attachment of the same name is replaced. The content is
  // read before the write lock is taken, and memory does not grow with it.
  Result<AttachmentInfo> PutAttachment(const std::string& collection, const std::string& id, const std::string& name,
                                       const AttachmentSource& source, const std::string& content_type = {});
  Result<AttachmentInfo> PutAttachment(const std::string& collection, const std::string& id, const std::string& name,
                                       std::string_view content, const std::string& content_type = {});
  // Content for Transaction::PutAttachment.
  Result<StagedAttachment> StageAttachment(const AttachmentSource& source);
  // kNotFound also where the content has not arrived yet (AttachmentInfo::is_here).
  Result<std::unique_ptr<Attachment>> OpenAttachment(const std::string& collection, const std::string& id,
                                                     const std::string& name);
  Result<std::vector<AttachmentInfo>> ListAttachments(const std::string& collection, const std::string& id);
  Status RemoveAttachment(const std::string& collection, const std::string& id, const std::string& name);

  // Removes readings, cheaply: whole records of them at a time. Returns how many.
  Result<std::uint64_t> DeleteReadings(const std::string& collection, const ReadingRange& range);

  // Several documents and collections in one transaction. kBusy after `timeout` behind another writer.
  Result<std::unique_ptr<Transaction>> Begin(std::chrono::milliseconds timeout = std::chrono::milliseconds(5000));

  // SQL. A Statement reads one snapshot; one that writes is one transaction.
  // BEGIN, COMMIT and SAVEPOINT are refused here: Connect gives statements that share a transaction.
  Result<std::unique_ptr<Statement>> Prepare(std::string_view sql, const SqlOptions& options = {});
  Result<std::unique_ptr<SqlConnection>> Connect(const SqlOptions& options = {});
  // Prepares, binds and runs to the end, with every row in memory.
  Result<Table> Query(std::string_view sql, std::span<const SqlValue> parameters = {}, const SqlOptions& options = {});
  // A live query (foreshore/subscription.h): `callback` is told the rows that are there, then every difference.
  // kInvalidArgument where the statement is no SELECT.
  Result<std::unique_ptr<Subscription>> Subscribe(std::string_view sql, std::span<const SqlValue> parameters,
                                                  const SubscriptionOptions& options, SubscriptionCallback callback);
  // For subscriptions with `notify`: runs the callbacks of all that have something ready. Returns how many.
  std::size_t DispatchSubscriptions();
  // Names a shell can complete: collections, fields, functions.
  Result<std::vector<std::string>> SqlNames();

  // Fills in the background for what is already there. kAlreadyExists for a field that has an index.
  Status CreateVectorIndex(const std::string& collection, const VectorFieldOptions& options);
  Status DropVectorIndex(const std::string& collection, const std::string& field);
  // Takes over an index that hnswlib saved: each label becomes a document, or the document that has its id gets the
  // vector as well. Where the field has no index, one is made with the file's own graph, in one transaction after the
  // documents; else the vectors are inserted into what is there. The whole file is checked before anything is written
  // (kCorruption); documents are committed by the thousand, and what fails later leaves those that were: the same
  // import again goes on. kNotFound for the file or the collection; kInvalidArgument where file and index do not fit.
  Result<HnswlibImportResult> ImportHnswlib(const std::string& collection, const HnswlibImportOptions& options);
  // Measures recall@10 with up to `sample_count` queries and makes the smallest search that reaches `recall` (0.5 to 1)
  // the index's own. The queries are those that were searched with lately, of which up to 64 are remembered while the
  // database is open; where there are fewer than 16, they are stored vectors, each without itself, for which recall is
  // too high a guess where queries are unlike what is stored. kLimit, with what was reached, where none does: then more
  // links, or 16 bits, would. kNotFound; kInvalidArgument also for fewer than eleven vectors.
  Result<VectorTuningResult> TuneVectorIndex(const std::string& collection, const std::string& field, double recall,
                                             std::size_t sample_count = 200);
  Result<std::vector<IndexInfo>> ListIndexes();
  // Indexes what is there in the background, except small collections, which are done on return, and unique indexes: of
  // two documents with one value the call fails with kAlreadyExists and leaves no index. kAlreadyExists too where the
  // name is taken.
  Status CreateFieldIndex(const std::string& collection, const FieldIndexOptions& options);
  Status DropFieldIndex(const std::string& collection, const std::string& name);  // As in options.name; kNotFound.
  // Is filled in the background. kNotFound also for the model or adapter; kAlreadyExists where the name, or an index of
  // the same expression, is there. While it is there its model cannot be removed (kConflict).
  Status CreatePredictiveIndex(const std::string& collection, const PredictiveIndexOptions& options);
  Status DropPredictiveIndex(const std::string& collection, const std::string& name);  // As in options.name; kNotFound.
  // Until every index is built; kBusy after `timeout`. Reports how many documents are left, now and then.
  Status WaitIndexed(std::chrono::milliseconds timeout = std::chrono::hours(24),
                     const std::function<void(std::uint64_t pending)>& progress = {});
  Result<std::vector<UniqueConflict>> ListUniqueConflicts(const std::string& collection = {});
  // Full-text search over the fields; one index per collection (kAlreadyExists). Fills in the background for what is
  // already there.
  Status CreateTextIndex(const std::string& collection, const TextIndexOptions& options);
  Status DropTextIndex(const std::string& collection);
  Result<std::vector<TextIndexInfo>> ListTextIndexes();
  // Until the collection's full-text index is filled; kBusy after `timeout`.
  Status WaitTextIndex(const std::string& collection, std::chrono::milliseconds timeout = std::chrono::hours(24),
                       const std::function<void(std::uint64_t pending)>& progress = {});
  // The k nearest, or best, that match `where`.
  Result<std::vector<SearchHit>> Search(const std::string& collection, const SearchRequest& request);
  // Until no vector is missing or stale; kBusy after `timeout`. Reports how many are left, now and then.
  Status WaitEmbedded(std::chrono::milliseconds timeout = std::chrono::hours(24),
                      const std::function<void(std::uint64_t pending)>& progress = {});

  // Imports, quantizes and activates a model in one transaction; the same content again is a no-op.
  Result<ModelInfo> AddModel(const std::string& name, const std::string& path, const ModelImportOptions& options = {});
  Result<std::vector<ModelInfo>> ListModels();
  Result<ModelInfo> GetModel(const std::string& name);       // kNotFound
  Result<ModelInfo> DescribeModel(const std::string& name);  // The same, and `fusions` of a complete graph.
  Status RemoveModel(const std::string& name);               // kConflict where an index uses it.
  // Makes of a text model in f32 or int8 a smaller one under the name `as`, calibrated and judged on documents. Where
  // it falls short the report says so, and nothing is kept. kInvalidArgument where there is too little text, or a
  // number is not finite.
  Result<ModelQuantizeReport> QuantizeModel(const std::string& name, const std::string& as,
                                            const ModelQuantizeOptions& options);
  // A model that `callback` runs (foreshore/runtime.h), from now on and in place of an earlier callback. Its row is
  // made where there is none, and replaced where the options name another version or other shapes than this database's
  // application registered last; a version that came by sync stays otherwise, and calls are kConflict until it is
  // registered. kAlreadyExists for the name of a model with weights, kInvalidArgument for shapes that are none,
  // kConflict inside a callback.
  Result<ModelInfo> RegisterRuntime(const std::string& name, const RuntimeOptions& options, RuntimeCallback callback);
  // Waits for calls that run; after it none begins, and the callback may go. The model's row, and vectors that it made,
  // stay. kNotFound where nothing is registered, kConflict inside a callback.
  Status UnregisterRuntime(const std::string& name);
  // A LoRA adapter as PEFT saves it: a folder with adapter_config.json and adapter_model.safetensors. It is kept beside
  // the model and takes the place of one of the same name; kInvalidArgument and kUnsupported name all that does not
  // fit.
  Result<ModelInfo> AddAdapter(const std::string& model, const std::string& adapter, const std::string& path);
  Status RemoveAdapter(const std::string& model, const std::string& adapter);  // kNotFound
  // One text, the model's dimension of floats; with `adapter`, one of the model's, as that makes it.
  Result<std::vector<float>> Embed(const std::string& model, std::string_view text, const std::string& adapter = {});
  // `input` is JSON: for a text model a string or {"text": …}; for a graph its numbers, nested or flat, or {"input's
  // name": numbers, …}. The result is JSON: {"embedding": […]}; for a graph its numbers, or {"output's name": numbers,
  // …}.
  Result<std::string> Predict(const std::string& model, std::string_view input_json, const std::string& adapter = {});

  Result<std::vector<RescuedValue>> ListRescued(const std::string& collection = {});
  Result<DatabaseStats> Stats();
  // Checks the store, every document, index entry, vector and blob against each other. Problems are in the report;
  // an error means the check itself could not run.
  Result<VerifyReport> Verify();
  Status Checkpoint();                            // Store checkpoint and index snapshots.
  Status Compact();                               // Unused space and unreferenced blobs.
  Status Backup(const std::string& destination);  // A directory that must not exist; openable as a database.

  // For the floors above this one.
  DatabaseCore& core() { return *core_; }

 private:
  explicit Database(std::unique_ptr<DatabaseCore> core);
  std::unique_ptr<DatabaseCore> core_;
  struct SqlState;
  std::unique_ptr<SqlState> sql_;
};

// Writes are seen by this transaction's own reads at once and by everyone at Commit. Rolls back unless Commit
// returned ok.
class Transaction {
 public:
  ~Transaction();
  Status Put(const std::string& collection, const std::string& id, std::string_view json,
             const Document* base = nullptr);
  Result<std::string> PutNew(const std::string& collection, std::string_view json);
  Result<std::string> Get(const std::string& collection, const std::string& id);
  Status Patch(const std::string& collection, const std::string& id, std::string_view merge_patch);
  Status Delete(const std::string& collection, const std::string& id);
  Result<AttachmentInfo> PutAttachment(const std::string& collection, const std::string& id, const std::string& name,
                                       const StagedAttachment& content, const std::string& content_type = {});
  Result<std::unique_ptr<Attachment>> OpenAttachment(const std::string& collection, const std::string& id,
                                                     const std::string& name);
  Result<std::vector<AttachmentInfo>> ListAttachments(const std::string& collection, const std::string& id);
  Status RemoveAttachment(const std::string& collection, const std::string& id, const std::string& name);
  // Named places, whatever the case of ASCII letters; kNotFound where there is none. RollbackTo undoes what was written
  // since the last one, also half a failed write, and keeps it; Release keeps the writes. Both drop later ones.
  Status Savepoint(const std::string& name);
  Status RollbackTo(const std::string& name);
  Status Release(const std::string& name);
  Status Commit();

 private:
  friend class Database;
  struct State;
  explicit Transaction(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace foreshore
