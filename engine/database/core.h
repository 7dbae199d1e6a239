// The database behind the public facade: opening, the catalogue, snapshots and transactions over documents, and the
// derived indexes that follow the change log. SQL (engine/query) and sync are built on this header.
//
// Invariants: a document, its vector codes and its change-log entries commit together or not at all. A view sees one
// sequence of the log, in documents and in vector searches alike.
//
// Threads: DatabaseCore is safe from any thread. A ReadView or WriteView and its cursors belong to one thread at a
// time and must go before the core.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "engine/database/catalog.h"
#include "engine/database/read_view.h"
#include "engine/database/readings.h"
#include "engine/database/rescue.h"
#include "engine/database/write_view.h"
#include "engine/document/record.h"
#include "engine/document/registers.h"
#include "foreshore/database.h"
#include "index/vector_index.h"
#include "storage/base/clock.h"
#include "storage/blob_store.h"
#include "storage/change_log.h"
#include "storage/database_directory.h"
#include "storage/store.h"
#include "storage/writer_gate.h"

namespace foreshore {

class DatabaseCore;
class BlobIndex;
class DerivedConsumer;
class DerivedVectorIndex;
class HnswlibFile;
class EmbeddingWorker;
class FieldIndexBuilder;
class FieldStatisticsCache;
class FullTextIndexes;
class ModelRegistry;
class ModelRows;
class PredictiveWorker;
class TextModel;

// What a core takes from outside; empty members mean the real thing.
struct Environment {
  std::shared_ptr<Clock> clock;
  std::shared_ptr<Random> random;
  // Wraps the store after it was opened; tests inject faults with it.
  std::function<std::unique_ptr<Store>(std::unique_ptr<Store>)> wrap_store;
  std::string text_vfs;  // The SQLite VFS of the full-text file.
};

// A setting that sync keeps: a varint, the highest hlc of local writes that a peer has acknowledged.
inline constexpr std::string_view kAcknowledgedHlcSetting = "sync.acknowledged_hlc";

class DatabaseCore {
 public:
  static Result<std::unique_ptr<DatabaseCore>> Open(const std::string& path, const DatabaseOptions& options,
                                                    const Environment& environment = {});
  ~DatabaseCore();
  DatabaseCore(const DatabaseCore&) = delete;
  DatabaseCore& operator=(const DatabaseCore&) = delete;
  Status Close();

  // A snapshot of the last commit. kCancelled after Close.
  Result<std::unique_ptr<ReadView>> BeginRead();
  // The same, able to search the full-text indexes of these collections (by id) as of the snapshot, however old it
  // gets.
  Result<std::unique_ptr<ReadView>> BeginTextRead(std::span<const std::uint32_t> collection_ids);
  // kBusy after `timeout`, with the `purpose` of the writer that did not leave. `cancellation`, which may be null, ends
  // the wait.
  Result<std::unique_ptr<WriteView>> BeginWrite(std::chrono::milliseconds timeout = std::chrono::milliseconds(5000),
                                                std::string_view purpose = "a transaction",
                                                Cancellation* cancellation = nullptr);

  std::shared_ptr<const Catalog> catalog() const;
  // Library names ("_models") included.
  Status CreateCollection(const std::string& name, const CollectionOptions& options = {});
  // The same, ok where it exists: for changes from elsewhere, called before the transaction that applies them begins.
  Status EnsureCollection(const std::string& name);
  // Documents of the collection expire at the time that this top-level field holds; empty: they no longer do.
  Status SetExpiryField(const std::string& collection, const std::string& field);
  // Deletes what has been expired for the grace period, where this database may (DatabaseOptions::expiry_purge).
  Result<std::uint64_t> PurgeExpired();
  // The same at most once a minute, for the background.
  Result<std::uint64_t> PurgeExpiredNowAndThen();
  Status CreateVectorIndex(const std::string& collection, const VectorFieldOptions& options);
  // Makes the graph of a new index. `docids` has every document with a vector, by id; entries are born at `sequence`.
  using GraphMaker = std::function<Result<std::unique_ptr<VectorIndex>>(
      VectorIndexConfig config, const std::unordered_map<std::string, std::int64_t>& docids, std::int64_t sequence)>;
  // The same over a graph that holds vectors already; those that it lacks, or has otherwise, are put right.
  Status CreateVectorIndex(const std::string& collection, const VectorFieldOptions& options,
                           const GraphMaker& make_graph);
  Result<HnswlibImportResult> ImportHnswlib(const std::string& collection, const HnswlibImportOptions& options);
  Status DropVectorIndex(const std::string& collection, const std::string& field);
  // Makes the graph of an index that NeedsRebuild() anew from the stored vectors. Commits go on until the last step.
  Status RebuildVectorIndex(std::uint32_t index_id);
  // Where a field's model or adapter has gone on to other weights (core_generations.cc). Each returns whether it did
  // anything; all leave a catalogue that has gone on meanwhile as it is.
  // Begins an index of `pin` that is to replace `index`, instead of one of older weights.
  Result<bool> BeginNextVectorIndex(const VectorIndexDefinition& index, const ModelPin& pin, std::uint32_t dimension);
  Result<bool> DropNextVectorIndex(const VectorIndexDefinition& index);
  // In one transaction, which `settle` may still write to, each index of `next_ids` takes the place of the one that it
  // replaces. `settle` says whether they have everything that the transaction sees.
  Result<bool> CutOver(std::span<const std::uint32_t> next_ids, const std::function<Result<bool>(WriteView&)>& settle);
  // Frees what was replaced or dropped, once no snapshot is as old.
  Status ReleaseRetired();
  // All weights that vectors here are made by, those that snapshots may still ask for included.
  std::vector<ModelPin> PinsInUse() const;
  // The text model that embeds for a comparison with what `catalog` says is stored; else the one that the row names.
  Result<std::shared_ptr<TextModel>> LoadForSearch(const Catalog& catalog, const std::string& model,
                                                   const std::string& adapter);
  Status RemoveAdapter(const std::string& model, const std::string& adapter);  // kConflict where a field uses it.
  // Takes the texts and hands them to ModelRegistry::Quantize. kInvalidArgument where too few documents have a text.
  Result<ModelQuantizeReport> QuantizeModel(const std::string& name, const std::string& as,
                                            const ModelQuantizeOptions& options);
  Result<ModelQuantizeReport> QuantizeGraphModel(const std::string& name, const std::string& as,
                                                 const ModelQuantizeOptions& options);
  Result<VectorTuningResult> TuneVectorIndex(const std::string& collection, const std::string& field, double recall,
                                             std::size_t sample_count);
  Result<std::vector<IndexInfo>> ListIndexes();
  Status CreateFieldIndex(const std::string& collection, const FieldIndexOptions& options);
  Status DropFieldIndex(const std::string& collection, const std::string& name);
  Status CreatePredictiveIndex(const std::string& collection, const PredictiveIndexOptions& options);
  Status DropPredictiveIndex(const std::string& collection, const std::string& name);
  // All values anew, by other weights; where the index has gone on meanwhile it is left as it is.
  Status BeginPredictions(const PredictiveIndexDefinition& index, const ModelPin& pin);
  static std::array<std::string, 3> PredictionKeyspaces(std::uint32_t storage);
  PredictiveWorker& predictive() { return *predictive_; }
  // With those of predictive indexes.
  Status WaitIndexed(std::chrono::milliseconds timeout, const std::function<void(std::uint64_t)>& progress);
  Result<std::vector<UniqueConflict>> ListUniqueConflicts(const std::string& collection);
  Status CreateTextIndex(const std::string& collection, const TextIndexOptions& options);
  Status DropTextIndex(const std::string& collection);
  Result<std::vector<TextIndexInfo>> ListTextIndexes();
  Status WaitTextIndex(const std::string& collection, std::chrono::milliseconds timeout,
                       const std::function<void(std::uint64_t)>& progress);
  std::uint64_t TextCount(const TextIndexDefinition& index);
  FullTextIndexes& text() { return *text_; }
  // How a k-NN over the index would run now; for EXPLAIN QUERY PLAN.
  // With `among_count`, of a search among so many documents.
  std::string NearestStrategy(const VectorIndexDefinition& index, std::size_t k_hint,
                              std::optional<std::size_t> among_count = std::nullopt);
  std::uint64_t VectorCount(const VectorIndexDefinition& index);
  // The sequence of the last commit, of which vector graphs forget nothing while the pointer lives; before Close().
  std::shared_ptr<const std::int64_t> PinSnapshot();

  FieldStatisticsCache& field_statistics() { return *field_statistics_; }
  void WakeFieldIndexBuilder();  // There may be something to do in the background.

  RescueKeyspaces rescue_keyspaces() const { return rescue_; }

  ModelRegistry& models() { return *models_; }
  // kConflict inside a callback of one of this database's runtimes; `what` says what is refused: "writing".
  Status RefuseInsideRuntime(std::string_view what) const;
  BlobStore& blobs() { return *blobs_; }
  BlobIndex& blob_index() { return *blob_index_; }
  // Removes blobs that nothing refers to and no snapshot can see; kAll looks at every file, for what a crash left.
  enum class BlobSweep : std::uint8_t { kDead, kAll };
  Status CollectBlobs(BlobSweep sweep);
  Store& store() { return *store_; }
  ChangeLog& log() { return *log_; }
  Clock& clock() { return *clock_; }
  Random& random() { return *random_; }
  SessionTable& sessions() { return sessions_; }
  const DatabaseOptions& options() const { return options_; }
  const std::string& path() const { return directory_->path(); }

  // Identity. Fork: this directory turned out to be a copy, or its store was restored; it becomes a new replica.
  ReplicaId replica() const;
  bool identity_forked() const { return identity_forked_; }
  Status ForkIdentity();
  // The peer says that our clock is off: stamps of local writes after `acknowledged_hlc` are minted anew at the
  // corrected time.
  Status RestampUnacknowledged(std::uint64_t acknowledged_hlc, std::int64_t clock_offset_ms);
  // Takes note of a remote stamp before it is joined.
  void ObserveHlc(std::uint64_t hlc);

  Result<std::optional<ByteString>> GetSetting(const std::string& key);
  Result<std::optional<ByteString>> ReadSettingIn(ReadView& view, const std::string& key);  // As the view sees it.

  // Returns once the log has grown past `sequence`, or after `timeout`. For sync that follows.
  bool WaitForChange(std::int64_t sequence, std::chrono::milliseconds timeout);
  std::int64_t last_sequence() const { return last_sequence_.load(); }
  // Calls `listener` after each commit, on the thread that committed: it must be quick, and may not call the core.
  std::uint64_t AddCommitListener(std::function<void()> listener);
  void RemoveCommitListener(std::uint64_t id);  // Returns once no call of it runs.

  Status WaitEmbedded(std::chrono::milliseconds timeout, const std::function<void(std::uint64_t)>& progress);
  Result<std::vector<RescuedValue>> ListRescued(const std::string& collection);
  Result<DatabaseStats> Stats();
  Result<VerifyReport> Verify();
  Status Checkpoint();
  Status Compact();
  Status Backup(const std::string& destination);

 private:
  friend class ReadView;
  friend class WriteView;
  friend class DerivedVectorIndex;
  friend class EmbeddingWorker;
  friend class FieldIndexBuilder;
  friend class PredictiveWorker;
  friend class RecallSampler;
  DatabaseCore(const DatabaseOptions& options, const Environment& environment);

  Status OpenParts(const std::string& path, const Environment& environment);
  Status LoadCatalog();
  Status LoadIdentity();
  Status LoadSessions();
  Status LoadClock();
  Status OpenIndexes();
  void OpenTextIndexes();
  Status OpenKeyspaces(CollectionDefinition& collection);
  // Secondary indexes, in core_field_indexes.cc.
  Status OpenFieldIndexes(CollectionDefinition& collection);
  void GoOnBuilding();
  Status RemoveFieldIndex(const FieldIndexDefinition& index);
  Status CollectConflicts(ReadView& view, const CollectionDefinition& collection, const FieldIndexDefinition& index,
                          std::vector<UniqueConflict>& found);
  // Predictive indexes, in core_predictive_indexes.cc.
  Status OpenPredictions(PredictiveIndexDefinition& index);
  Status AppendPredictiveIndexInfos(ReadView& view, const CollectionDefinition& collection,
                                    std::vector<IndexInfo>& infos);
  static Result<std::uint64_t> VerifyPredictiveIndex(ReadView& view, const CollectionDefinition& collection,
                                                     const PredictiveIndexDefinition& index,
                                                     const std::function<void(std::string)>& problem);
  Status AppendFieldIndexInfos(ReadView& view, const CollectionDefinition& collection, std::vector<IndexInfo>& infos);
  // Writes one row of the catalogue (empty content: removes it) and lets the transaction publish `next` as it commits.
  Status ChangeCatalog(WriteView& view, std::shared_ptr<Catalog> next, const std::string& row, Bytes content);
  Status MintIdentity(std::uint64_t epoch);
  void MintSession();
  Result<std::uint32_t> TakeCatalogId();
  static Status RefuseBadField(const CollectionDefinition& collection, const VectorFieldOptions& options);
  // The part of ImportHnswlib() that writes documents; counts them in `result`.
  Status PutHnswlibVectors(const std::string& collection, const HnswlibFile& file, const std::vector<std::string>& ids,
                           const HnswlibImportOptions& options, HnswlibImportResult& result);
  Status OpenGraph(const VectorIndexDefinition& index, std::set<std::string>& files);
  // Fields of databases from before pins were kept.
  Status AdoptPins();
  // Takes an index's graph out of those that follow the commits, its cursors and settings out of `view`, and notes that
  // it has to be freed.
  Status Retire(WriteView& view, const VectorIndexDefinition& index);
  // Retires them and commits. Where that fails their graphs are back where they were.
  Status CommitRetiring(WriteView& view, std::span<const VectorIndexDefinition> indexes);
  // What a crash left to be freed.
  Status DropRetiredKeyspaces();
  Status AppendModelState(ReadView& view, const CollectionDefinition& collection, const VectorIndexDefinition& index,
                          IndexInfo& info);
  Status StartFollowing(WriteView& view, const VectorIndexDefinition& index);
  std::string SnapshotPath(std::uint32_t index_id) const;
  std::shared_ptr<DerivedVectorIndex> FindDerived(std::uint32_t index_id) const;
  static std::string TuningSetting(std::uint32_t index_id);
  static std::string RecallSetting(std::uint32_t index_id) { return "recall." + std::to_string(index_id); }
  // And the last sample of its recall.
  Status ReadTuning(ReadTxn& txn, std::uint32_t index_id, DerivedVectorIndex& index);
  std::map<std::uint32_t, std::shared_ptr<DerivedVectorIndex>> derived_by_id() const;
  std::int64_t OldestSnapshot();
  // All that follow the commits.
  std::vector<std::shared_ptr<DerivedConsumer>> consumers() const;
  void PublishCatalog(std::shared_ptr<const Catalog> next);
  // After the writer's lock was released: the derived indexes see the commit, then those who wait for changes.
  void AfterCommit();
  Status SaveIndexes(bool is_closing = false);
  // Removes readings that are older than their collection keeps them.
  Status DropExpiredReadings();
  Status TrimLog();
  Status RefuseIfClosed() const;
  // For ever, until the database is opened again; returns the error that every call gets.
  Status RefuseFromNowOn(const char* why);
  Result<std::uint64_t> PendingCount(ReadView& view, const VectorIndexDefinition& index);
  Status OpenBlobIndex();
  Status VisitModelBlobs(ReadView& view,
                         const std::function<void(std::string_view body, const std::vector<BlobId>&)>& visit);
  Status VerifyBlobs(ReadView& view, VerifyReport& report, const std::function<void(std::string)>& problem);
  Result<bool> MayPurge();
  Result<std::size_t> PurgeBatch(WriteView& view, std::int64_t until_unix_ms);
  Status VerifyExpiries(ReadView& view, const CollectionDefinition& collection,
                        const std::function<void(std::string)>& problem);

  DatabaseOptions options_;
  std::shared_ptr<Clock> clock_;    // Shared with tests.
  std::shared_ptr<Random> random_;  // Shared with tests.
  std::string text_vfs_;            // Empty outside tests.
  std::unique_ptr<DatabaseDirectory> directory_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ChangeLog> log_;
  std::unique_ptr<BlobStore> blobs_;
  std::shared_ptr<FullTextIndexes> text_;  // Shared with the list of consumers.
  std::unique_ptr<BlobIndex> blob_index_;
  std::unique_ptr<ModelRows> model_rows_;
  std::unique_ptr<ModelRegistry> models_;
  std::unique_ptr<PredictiveWorker> predictive_;
  std::unique_ptr<EmbeddingWorker> embedder_;
  std::unique_ptr<FieldStatisticsCache> field_statistics_;
  std::unique_ptr<FieldIndexBuilder> field_builder_;
  KeyspaceId settings_ = 0;  // "settings": text -> bytes.
  KeyspaceId queries_ = 0;   // "queries": id of a vector index -> QueryReservoir::TakeUnsaved(). Derived.
  KeyspaceId catalog_rows_ = 0;
  KeyspaceId session_rows_ = 0;
  KeyspaceId conflicts_ = 0;  // Of unique indexes, see unique_conflicts.h.
  RescueKeyspaces rescue_;

  std::mutex catalog_change_mutex_;  // One change of the catalogue at a time; taken before writer_gate_.
  WriterGate writer_gate_;  // Passed by the WriteView; guards hybrid_clock_, session_, next_docid_ and readings_.
  std::unique_ptr<HybridClock> hybrid_clock_;
  SessionKey session_;
  SessionTable sessions_;
  std::int64_t next_docid_ = 1;
  std::map<std::uint32_t, ReadingsState> readings_;  // By collection id; guarded by writer_gate_ once open.
  ReplicaId replica_{};                              // Guarded by writer_gate_ once open.
  std::uint64_t epoch_ = 0;
  bool identity_forked_ = false;
  std::string lineage_;  // Names derived files; changes when the store's history did.

  mutable std::mutex catalog_mutex_;
  std::shared_ptr<const Catalog> catalog_;  // Guarded by catalog_mutex_; shared with views.
  std::map<std::uint32_t, std::shared_ptr<DerivedVectorIndex>>
      derived_;  // Guarded by catalog_mutex_; shared with searches.
  struct RetiredIndex {
    ModelPin pin;
    std::shared_ptr<DerivedVectorIndex> derived;  // Shared with searches.
    std::int64_t sequence = INT64_MAX;  // Snapshots before it may ask for the index; INT64_MAX: not committed.
  };
  std::map<std::uint32_t, RetiredIndex> retired_;  // Guarded by catalog_mutex_.

  std::mutex snapshots_mutex_;
  std::multiset<std::int64_t> snapshots_;  // Guarded by snapshots_mutex_: sequences of open views.

  std::atomic<std::int64_t> last_sequence_{0};
  std::atomic<std::uint64_t> commit_epoch_{0};  // Odd while the store may be ahead of last_sequence_.
  std::atomic<std::int64_t> rescued_count_{0};
  std::mutex change_mutex_;
  std::condition_variable changed_;
  std::atomic<std::int64_t> purge_due_us_{0};  // By the monotonic clock.
  std::mutex listeners_mutex_;
  std::map<std::uint64_t, std::function<void()>> commit_listeners_;  // Guarded by listeners_mutex_.
  std::uint64_t next_listener_id_ = 1;                               // The same.
  std::atomic<bool> closed_{false};
  std::atomic<const char*> refusal_{nullptr};  // Set: what is in memory is no longer what is in the store.
};

}  // namespace foreshore
