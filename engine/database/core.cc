#include "engine/database/core.h"

#include <algorithm>
#include <cassert>

#include "engine/database/blob_index.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/embedding_worker.h"
#include "engine/database/field_index_builder.h"
#include "engine/database/field_statistics.h"
#include "engine/database/full_text_indexes.h"
#include "engine/database/model_rows.h"
#include "engine/database/predictive_worker.h"
#include "engine/model/model_registry.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr unsigned kInferenceThreadsMax = 1024;
constexpr std::string_view kStoreFormatSetting = "format";
constexpr std::string_view kStoreFormat = "1";

Result<std::optional<ByteString>> ReadSetting(ReadTxn& txn, KeyspaceId settings, std::string_view key) {
  FORESHORE_ASSIGN_OR_RETURN(const auto value, txn.Get(settings, Bytes(key)));
  return value ? std::optional<ByteString>(*value) : std::nullopt;
}

}  // namespace

DatabaseCore::DatabaseCore(const DatabaseOptions& options, const Environment& environment)
    : options_(options),
      clock_(environment.clock ? environment.clock : SystemClock()),
      random_(environment.random ? environment.random : SystemRandom()),
      text_vfs_(environment.text_vfs),
      catalog_(std::make_shared<Catalog>()) {}

Result<std::unique_ptr<DatabaseCore>> DatabaseCore::Open(const std::string& path, const DatabaseOptions& options,
                                                         const Environment& environment) {
  if (options.inference_thread_count > kInferenceThreadsMax) {
    return Status::InvalidArgument("database \"" + path + "\": " + std::to_string(options.inference_thread_count) +
                                   " threads for models, expected at most " + std::to_string(kInferenceThreadsMax));
  }
  std::unique_ptr<DatabaseCore> core(new DatabaseCore(options, environment));
  FORESHORE_RETURN_IF_ERROR(core->OpenParts(path, environment));
  FORESHORE_RETURN_IF_ERROR(core->LoadIdentity());
  FORESHORE_RETURN_IF_ERROR(core->LoadSessions());
  FORESHORE_RETURN_IF_ERROR(core->LoadCatalog());
  FORESHORE_RETURN_IF_ERROR(core->OpenBlobIndex());
  FORESHORE_RETURN_IF_ERROR(core->LoadClock());
  FORESHORE_RETURN_IF_ERROR(core->OpenIndexes());
  core->model_rows_ = std::make_unique<CollectionModelRows>(*core);
  core->models_ = std::make_unique<ModelRegistry>(*core->model_rows_, *core->blobs_, core->directory_->IndexPath(),
                                                  std::max(1U, options.inference_thread_count));
  FORESHORE_RETURN_IF_ERROR(core->AdoptPins());
  core->predictive_ = std::make_unique<PredictiveWorker>(*core);
  core->embedder_ = std::make_unique<EmbeddingWorker>(*core);
  core->GoOnBuilding();
  if (options.embed_in_background) core->embedder_->Start();
  return core;
}

Status DatabaseCore::OpenParts(const std::string& path, const Environment& environment) {
  FORESHORE_ASSIGN_OR_RETURN(directory_, DatabaseDirectory::Open(path, options_.create, options_.storage, *random_));
  options_.storage = directory_->storage_kind();
  StoreOptions store_options;
  store_options.durability = options_.durability;
  store_options.create = directory_->created();
  store_options.cache_bytes = options_.cache_bytes;
  FORESHORE_ASSIGN_OR_RETURN(store_, directory_->OpenStore(store_options));
  if (environment.wrap_store) store_ = environment.wrap_store(std::move(store_));
  FORESHORE_ASSIGN_OR_RETURN(blobs_, BlobStore::Open(directory_->BlobsPath()));
  FORESHORE_RETURN_IF_ERROR(CreateDirectories(directory_->IndexPath()));
  FORESHORE_ASSIGN_OR_RETURN(settings_, store_->OpenKeyspace("settings", KeyspaceKind::kBytes));
  FORESHORE_ASSIGN_OR_RETURN(queries_, store_->OpenKeyspace("queries", KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(catalog_rows_, store_->OpenKeyspace("catalog", KeyspaceKind::kBytes));
  FORESHORE_ASSIGN_OR_RETURN(session_rows_, store_->OpenKeyspace("sessions", KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(conflicts_, store_->OpenKeyspace("conflicts", KeyspaceKind::kBytes));
  FORESHORE_ASSIGN_OR_RETURN(rescue_.values, store_->OpenKeyspace("rescue", KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(rescue_.ids, store_->OpenKeyspace("rescue.ids", KeyspaceKind::kBytes));
  FORESHORE_ASSIGN_OR_RETURN(log_, ChangeLog::Open(*store_));
  return Status::Ok();
}

// The store and INSTANCE each hold the replica's identity and an epoch that grows with every open, the store's first.
// So a store one ahead is a crash in between; any other difference is a store restored from elsewhere or from earlier.
Status DatabaseCore::LoadIdentity() {
  FORESHORE_ASSIGN_OR_RETURN(const auto instance, directory_->ReadInstance());
  std::optional<ByteString> replica;
  std::uint64_t store_epoch = 0;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginRead());
    FORESHORE_ASSIGN_OR_RETURN(const auto format, ReadSetting(*txn, settings_, kStoreFormatSetting));
    if (format && *format != kStoreFormat) {
      return Status::Unsupported("database \"" + path() + "\": store format " + *format + ", expected 1");
    }
    FORESHORE_ASSIGN_OR_RETURN(replica, ReadSetting(*txn, settings_, "replica"));
    FORESHORE_ASSIGN_OR_RETURN(const auto epoch, ReadSetting(*txn, settings_, "epoch"));
    if (epoch) store_epoch = ByteReader(*epoch).Varint();
    FORESHORE_ASSIGN_OR_RETURN(const auto lineage, ReadSetting(*txn, settings_, "lineage"));
    lineage_ = lineage.value_or("");
  }
  const bool is_new = !replica;
  const bool agrees = !is_new && instance && replica->size() == instance->replica.size() &&
                      *replica == AsBytes(instance->replica.data(), instance->replica.size()) &&
                      (instance->epoch == store_epoch || instance->epoch + 1 == store_epoch);
  std::uint64_t epoch = store_epoch + 1;
  if (agrees || (is_new && instance)) {
    replica_ = instance->replica;
  } else {
    identity_forked_ = !is_new;
    const ByteString fresh = random_->Generate(replica_.size());
    std::copy(fresh.begin(), fresh.end(), replica_.begin());
    if (instance) epoch = std::max(epoch, instance->epoch + 1);
    if (identity_forked_) {
      Log(LogLevel::kWarning, "database", path() + ": the store was restored or copied; it goes on as a new replica");
    }
  }
  if (lineage_.empty() || identity_forked_) lineage_ = ToHex(random_->Generate(8));
  return MintIdentity(epoch);
}

Status DatabaseCore::MintIdentity(std::uint64_t epoch) {
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginWrite());
  ByteString epoch_bytes;
  AppendVarint(epoch_bytes, epoch);
  FORESHORE_RETURN_IF_ERROR(txn->Put(settings_, Bytes(kStoreFormatSetting), kStoreFormat));
  FORESHORE_RETURN_IF_ERROR(txn->Put(settings_, Bytes("replica"), AsBytes(replica_.data(), replica_.size())));
  FORESHORE_RETURN_IF_ERROR(txn->Put(settings_, Bytes("epoch"), epoch_bytes));
  FORESHORE_RETURN_IF_ERROR(txn->Put(settings_, Bytes("lineage"), lineage_));
  FORESHORE_RETURN_IF_ERROR(txn->Commit());
  epoch_ = epoch;
  return directory_->WriteInstance({replica_, epoch_});
}

Status DatabaseCore::LoadSessions() {
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn->NewCursor(session_rows_));
  for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!cursor->valid()) break;
    FORESHORE_ASSIGN_OR_RETURN(const SessionTable::Entry entry, SessionTable::DecodeEntry(cursor->value()));
    sessions_.Load(static_cast<std::uint32_t>(cursor->integer_key()), entry);
  }
  MintSession();
  return Status::Ok();
}

void DatabaseCore::MintSession() {
  session_.replica = replica_;
  do {
    session_.session = random_->Next64();
  } while (session_.session == 0);
  sessions_.AddLocal(session_);
}

Status DatabaseCore::LoadCatalog() {
  auto catalog = std::make_shared<Catalog>();
  catalog->version = 1;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginRead());
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn->NewCursor(catalog_rows_));
    std::vector<VectorIndexDefinition> indexes;
    std::vector<FieldIndexDefinition> field_indexes;
    std::vector<PredictiveIndexDefinition> predictive_indexes;
    std::vector<TextIndexDefinition> text_indexes;
    for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid()) break;
      if (cursor->bytes_key().starts_with('c')) {
        FORESHORE_ASSIGN_OR_RETURN(auto collection, DecodeCollection(cursor->value()));
        catalog->collections.push_back(std::move(collection));
      } else if (cursor->bytes_key().starts_with('f')) {
        FORESHORE_ASSIGN_OR_RETURN(auto index, DecodeFieldIndex(cursor->value()));
        field_indexes.push_back(std::move(index));
      } else if (cursor->bytes_key().starts_with('p')) {
        FORESHORE_ASSIGN_OR_RETURN(auto index, DecodePredictiveIndex(cursor->value()));
        predictive_indexes.push_back(std::move(index));
      } else if (cursor->bytes_key().starts_with('t')) {
        FORESHORE_ASSIGN_OR_RETURN(auto index, DecodeTextIndex(cursor->value()));
        text_indexes.push_back(std::move(index));
      } else {
        FORESHORE_ASSIGN_OR_RETURN(auto index, DecodeVectorIndex(cursor->value()));
        indexes.push_back(std::move(index));
      }
    }
    std::sort(catalog->collections.begin(), catalog->collections.end(),
              [](const auto& a, const auto& b) { return a.id < b.id; });
    for (CollectionDefinition& collection : catalog->collections) {
      for (const VectorIndexDefinition& index : indexes) {
        if (index.collection_id != collection.id) continue;
        (index.replaces == 0 ? collection.vector_indexes : collection.next_vector_indexes).push_back(index);
      }
      for (const FieldIndexDefinition& index : field_indexes) {
        if (index.collection_id == collection.id) collection.field_indexes.push_back(index);
      }
      for (const PredictiveIndexDefinition& index : predictive_indexes) {
        if (index.collection_id == collection.id) collection.predictive_indexes.push_back(index);
      }
      for (const TextIndexDefinition& index : text_indexes) {
        if (index.collection_id == collection.id) collection.text_index = index;
      }
    }
  }
  for (CollectionDefinition& collection : catalog->collections) {
    FORESHORE_RETURN_IF_ERROR(OpenKeyspaces(collection));
  }
  PublishCatalog(std::move(catalog));
  return Status::Ok();
}

Status DatabaseCore::OpenKeyspaces(CollectionDefinition& collection) {
  const std::string suffix = std::to_string(collection.id);
  FORESHORE_ASSIGN_OR_RETURN(collection.documents, store_->OpenKeyspace("d" + suffix, KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(collection.ids, store_->OpenKeyspace("i" + suffix, KeyspaceKind::kBytes));
  if (collection.is_readings()) {
    FORESHORE_ASSIGN_OR_RETURN(collection.tail, store_->OpenKeyspace("t" + suffix, KeyspaceKind::kInteger));
  }
  if (!collection.expiry_field.empty()) {
    FORESHORE_ASSIGN_OR_RETURN(collection.expiries, store_->OpenKeyspace("e" + suffix, KeyspaceKind::kBytes));
  }
  for (auto* list : {&collection.vector_indexes, &collection.next_vector_indexes}) {
    for (VectorIndexDefinition& index : *list) {
      FORESHORE_ASSIGN_OR_RETURN(index.vectors,
                                 store_->OpenKeyspace("v" + std::to_string(index.id), KeyspaceKind::kInteger));
      index.documents = collection.documents;
    }
  }
  for (PredictiveIndexDefinition& index : collection.predictive_indexes) {
    FORESHORE_RETURN_IF_ERROR(OpenPredictions(index));
  }
  return OpenFieldIndexes(collection);
}

Status DatabaseCore::LoadClock() {
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const auto clock, ReadSetting(*txn, settings_, "clock"));
  hybrid_clock_ = std::make_unique<HybridClock>(clock_, clock ? ByteReader(*clock).Varint() : 0);
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t head, log_->Head(*txn));
  last_sequence_.store(head);
  std::int64_t rescued_count = 0;
  FORESHORE_RETURN_IF_ERROR(VisitRescued(*txn, rescue_, [&](const RescueEntry&) {
    ++rescued_count;
    return Status::Ok();
  }));
  rescued_count_.store(rescued_count);
  // Document ids inside are one run over all collections, so the highest one is at the end of some keyspace.
  for (const CollectionDefinition& collection : catalog_->collections) {
    if (collection.is_readings()) continue;
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn->NewCursor(collection.documents));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekLast());
    if (cursor->valid()) next_docid_ = std::max(next_docid_, cursor->integer_key() + 1);
  }
  return Status::Ok();
}

std::string DatabaseCore::SnapshotPath(std::uint32_t index_id) const {
  return directory_->IndexPath() + "/v" + std::to_string(index_id) + "-" + lineage_ + ".hnsw";
}

Status DatabaseCore::OpenGraph(const VectorIndexDefinition& index, std::set<std::string>& files) {
  const std::string file = SnapshotPath(index.id);
  for (const std::string& each : HnswFiles(file)) files.insert(each);
  FORESHORE_ASSIGN_OR_RETURN(auto derived,
                             DerivedVectorIndex::Open(index, *store_, *log_, file, options_.vector_memory_bytes));
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginRead());
  FORESHORE_RETURN_IF_ERROR(ReadTuning(*txn, index.id, *derived));
  derived_[index.id] = std::move(derived);
  return Status::Ok();
}

Status DatabaseCore::OpenIndexes() {
  std::set<std::string> expected;
  for (const CollectionDefinition& collection : catalog_->collections) {
    for (const auto* list : {&collection.vector_indexes, &collection.next_vector_indexes}) {
      for (const VectorIndexDefinition& index : *list) FORESHORE_RETURN_IF_ERROR(OpenGraph(index, expected));
    }
  }
  // Files of dropped indexes and of other histories are derived data that nobody will read; kScratchName begins so too.
  FORESHORE_ASSIGN_OR_RETURN(const auto names, ListDirectory(directory_->IndexPath()));
  for (const std::string& name : names) {
    const std::string file = directory_->IndexPath() + "/" + name;
    if (name.starts_with('v') && !expected.contains(file)) RemoveFile(file).IgnoreError();
  }
  OpenTextIndexes();
  return DropRetiredKeyspaces();
}

DatabaseCore::~DatabaseCore() {
  if (const Status status = Close(); !status.ok()) Log(LogLevel::kError, "database", status.ToString());
  assert(snapshots_.empty() && "a snapshot outlived its database");
}

Status DatabaseCore::Close() {
  // A loss of statistics costs a walk over the index, no more.
  if (field_statistics_ && !closed_.load()) field_statistics_->Save().IgnoreError();
  if (closed_.exchange(true)) return Status::Ok();
  changed_.notify_all();
  if (embedder_) embedder_->Stop();
  if (field_builder_) field_builder_->Stop();
  Status status;
  if (store_) {
    status = SaveIndexes(true);
    if (const Status checkpointed = store_->Checkpoint(); status.ok()) status = checkpointed;
  }
  if (models_) models_->Release();  // Itself it stays, for calls that come too late.
  {
    const std::lock_guard lock(catalog_mutex_);
    derived_.clear();
    retired_.clear();
  }
  text_.reset();
  log_.reset();
  store_.reset();
  directory_.reset();
  return status;
}

Status DatabaseCore::RefuseFromNowOn(const char* why) {
  refusal_.store(why);
  return RefuseIfClosed();
}

Status DatabaseCore::RefuseIfClosed() const {
  if (const char* why = refusal_.load(); why != nullptr) {
    return Status::Internal("database: " + std::string(why) + ", expected it to be closed and opened again");
  }
  return closed_.load() ? Status::Cancelled("database: closed, expected an open one") : Status::Ok();
}

Result<std::unique_ptr<ReadView>> DatabaseCore::BeginRead() {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  std::unique_ptr<ReadView> view(new ReadView(*this, nullptr));
  view->now_unix_ms_ = clock_->NowUnixMs();
  {
    // Registered before the snapshot is taken, so that the index keeps what the snapshot may need; and before the
    // catalogue is, so that what a later one no longer has is kept too.
    const std::lock_guard lock(snapshots_mutex_);
    view->registered_sequence_ = last_sequence_.load();
    snapshots_.insert(view->registered_sequence_);
    view->registered_ = true;
  }
  view->catalog_ = catalog();
  const std::uint64_t epoch = commit_epoch_.load();
  FORESHORE_ASSIGN_OR_RETURN(view->owned_txn_, store_->BeginRead());
  view->txn_ = view->owned_txn_.get();
  view->sequence_ = last_sequence_.load();
  // Where a commit came beside this, only the snapshot itself can say whether it holds it.
  if (epoch % 2 != 0 || commit_epoch_.load() != epoch) {
    FORESHORE_ASSIGN_OR_RETURN(view->sequence_, log_->Head(*view->txn_));
  }
  return view;
}

Result<std::unique_ptr<WriteView>> DatabaseCore::BeginWrite(std::chrono::milliseconds timeout, std::string_view purpose,
                                                            Cancellation* cancellation) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  FORESHORE_RETURN_IF_ERROR(RefuseInsideRuntime("writing"));
  Status stopped;
  std::function<bool()> should_stop;
  if (cancellation != nullptr) should_stop = [&] { return !(stopped = cancellation->Check()).ok(); };
  if (!writer_gate_.Enter(timeout, purpose, should_stop)) {
    FORESHORE_RETURN_IF_ERROR(stopped);
    return Status::Busy("database \"" + path() + "\": " + std::string(purpose) + " waited " +
                        std::to_string(timeout.count()) + " ms for the write lock: " + writer_gate_.DescribeHolder());
  }
  WriterGatePass pass(writer_gate_);
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  std::unique_ptr<WriteView> view(new WriteView(*this, catalog()));
  view->now_unix_ms_ = clock_->NowUnixMs();
  {
    const std::lock_guard snapshot_lock(snapshots_mutex_);
    view->registered_sequence_ = last_sequence_.load();
    snapshots_.insert(view->registered_sequence_);
    view->registered_ = true;
  }
  view->writer_pass_.emplace(std::move(pass));
  FORESHORE_ASSIGN_OR_RETURN(view->owned_write_txn_, store_->BeginWrite(timeout));
  view->write_txn_ = view->owned_write_txn_.get();
  view->txn_ = view->write_txn_;
  view->next_docid_ = next_docid_;
  view->sequence_ = last_sequence_.load();  // No other writer is there to move it.
  return view;
}

std::shared_ptr<const Catalog> DatabaseCore::catalog() const {
  const std::lock_guard lock(catalog_mutex_);
  return catalog_;
}

void DatabaseCore::PublishCatalog(std::shared_ptr<const Catalog> next) {
  const std::lock_guard lock(catalog_mutex_);
  catalog_ = std::move(next);
}

std::shared_ptr<DerivedVectorIndex> DatabaseCore::FindDerived(std::uint32_t index_id) const {
  const std::lock_guard lock(catalog_mutex_);
  if (const auto it = derived_.find(index_id); it != derived_.end()) return it->second;
  const auto it = retired_.find(index_id);
  return it == retired_.end() ? nullptr : it->second.derived;
}

std::map<std::uint32_t, std::shared_ptr<DerivedVectorIndex>> DatabaseCore::derived_by_id() const {
  const std::lock_guard lock(catalog_mutex_);
  return derived_;
}

std::int64_t DatabaseCore::OldestSnapshot() {
  const std::lock_guard lock(snapshots_mutex_);
  return snapshots_.empty() ? last_sequence_.load() : *snapshots_.begin();
}

std::shared_ptr<const std::int64_t> DatabaseCore::PinSnapshot() {
  const std::lock_guard lock(snapshots_mutex_);
  const std::int64_t sequence = last_sequence_.load();
  snapshots_.insert(sequence);
  return std::shared_ptr<const std::int64_t>(new std::int64_t(sequence), [this](const std::int64_t* pinned) {
    const std::lock_guard erase_lock(snapshots_mutex_);
    snapshots_.erase(snapshots_.find(*pinned));
    delete pinned;
  });
}

void DatabaseCore::AfterCommit() {
  // A derived index never fails a commit: it logs, and searches scan what it lacks.
  for (const auto& consumer : consumers()) consumer->Apply().IgnoreError();
  for (const auto& [id, derived] : derived_by_id()) {
    derived->graph().ForgetBefore(static_cast<std::uint64_t>(OldestSnapshot()));
  }
  { const std::lock_guard lock(change_mutex_); }
  changed_.notify_all();
  const std::lock_guard lock(listeners_mutex_);
  for (const auto& [id, listener] : commit_listeners_) listener();
}

std::uint64_t DatabaseCore::AddCommitListener(std::function<void()> listener) {
  const std::lock_guard lock(listeners_mutex_);
  commit_listeners_.emplace(next_listener_id_, std::move(listener));
  return next_listener_id_++;
}

void DatabaseCore::RemoveCommitListener(std::uint64_t id) {
  const std::lock_guard lock(listeners_mutex_);
  commit_listeners_.erase(id);
}

bool DatabaseCore::WaitForChange(std::int64_t sequence, std::chrono::milliseconds timeout) {
  std::unique_lock lock(change_mutex_);
  return changed_.wait_for(lock, timeout, [&] { return closed_.load() || last_sequence_.load() > sequence; }) &&
         !closed_.load();
}

ReplicaId DatabaseCore::replica() const {
  return replica_;
}

Result<std::optional<ByteString>> DatabaseCore::GetSetting(const std::string& key) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginRead());
  return ReadSetting(*txn, settings_, key);
}

}  // namespace foreshore
