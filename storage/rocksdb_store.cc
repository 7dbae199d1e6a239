// The RocksDB backend: one column family per keyspace, named "i:<name>" or "b:<name>" by its kind, integer keys as
// eight sortable bytes, a transaction as one write batch.
//
// What is kept off, and why: recycled log files and manual_wal_flush leave holes in the log when there are several
// column families; mmapped writes lose their errors; a log that is written without being flushed to the operating
// system would not survive the death of the process.
#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/wal_filter.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <cassert>
#include <cstdarg>
#include <limits>
#include <mutex>
#include <set>

#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "storage/rocksdb_file_system.h"
#include "storage/rocksdb_manifest.h"
#include "storage/rocksdb_transaction.h"
#include "storage/store.h"
#include "storage/store_limits.h"
#include "storage/writer_gate.h"

namespace foreshore {
namespace {

constexpr std::chrono::milliseconds kMaintenanceTimeout(5000);
constexpr std::string_view kIntegerPrefix = "i:";
constexpr std::string_view kBytesPrefix = "b:";
constexpr std::uint64_t kBudgetBytesMin = 8ULL << 20;  // Below it RocksDB would flush at every few commits.
constexpr std::uint64_t kWriteBufferBytesMin = 1ULL << 20;
constexpr int kOpenFilesMax = 256;
constexpr std::uint64_t kBackgroundSyncBytes = 1ULL << 20;
constexpr std::size_t kCompactionReadAheadBytes = 128U << 10;

// What holds for blocks, the tables' indexes and filters, and write buffers together: the buffers are charged to the
// cache, which gives up blocks for them. It can be exceeded only by what open readers pin.
struct MemoryBudget {
  explicit MemoryBudget(std::uint64_t cache_bytes)
      : bytes(std::max(cache_bytes, kBudgetBytesMin)),
        cache(rocksdb::NewLRUCache(bytes)),
        buffers(std::make_shared<rocksdb::WriteBufferManager>(bytes / 2, cache)) {}
  std::uint64_t bytes;
  std::shared_ptr<rocksdb::Cache> cache;  // Shared with every table.
  std::shared_ptr<rocksdb::WriteBufferManager> buffers;
};

bool Supports(rocksdb::CompressionType wanted) {
  const std::vector<rocksdb::CompressionType> supported = rocksdb::GetSupportedCompressions();
  return std::find(supported.begin(), supported.end(), wanted) != supported.end();
}

// Leaves out the records behind the last commit that succeeded: a commit that was refused because its sync failed is
// in the log all the same.
class CommittedRecords final : public rocksdb::WalFilter {
 public:
  explicit CommittedRecords(std::uint64_t sequence_max) : sequence_max_(sequence_max) {}
  WalProcessingOption LogRecordFound(unsigned long long, const std::string&, const rocksdb::WriteBatch& batch,
                                     rocksdb::WriteBatch*, bool*) override {
    // A batch begins with its sequence number, little-endian.
    const bool committed = LoadFixed<std::uint64_t>(batch.Data().data()) <= sequence_max_;
    return committed ? WalProcessingOption::kContinueProcessing : WalProcessingOption::kIgnoreCurrentRecord;
  }
  const char* Name() const override { return "foreshore.CommittedRecords"; }

 private:
  const std::uint64_t sequence_max_;
};

// Keeps RocksDB from resuming by itself, in the background, after a failed write: that syncs the log file whose writer
// has failed, which its own assertions forbid (seen with 7.8.3 on a full disk). The store reopens it instead.
class NoAutomaticRecovery final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* auto_recovery) override {
    *auto_recovery = false;
  }
};

// RocksDB's own LOG file is left out: on a full disk its writer fails like any other and the next line of it trips an
// assertion of the library (seen with 7.8.3). What matters is returned as a Status.
class NoInformationLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

rocksdb::ColumnFamilyOptions ColumnFamilyOptionsFor(const MemoryBudget& budget) {
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = std::max(budget.bytes / 8, kWriteBufferBytesMin);
  family.arena_block_size = 64ULL << 10;  // Most keyspaces are small; an eighth of the buffer each would add up.
  // LZ4 at every level: with Zstandard at the last one documents take 0.75 of the space, and two thirds longer to read.
  family.compression = Supports(rocksdb::kLZ4Compression) ? rocksdb::kLZ4Compression : rocksdb::kNoCompression;
  family.level_compaction_dynamic_level_bytes = true;  // A tenth of the space for what was overwritten, not more.
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = budget.cache;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.cache_index_and_filter_blocks = true;  // Else they would grow with the data, outside the budget.
  // In parts, so that a look-up needs a page of them in memory and not a table's whole index.
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

rocksdb::DBOptions DatabaseOptionsFor(const StoreOptions& options, const MemoryBudget& budget) {
  rocksdb::DBOptions database;
  database.create_if_missing = options.create;
  database.write_buffer_manager = budget.buffers;
  // Tables go to the device in even steps while they are written, not in one burst at their end that commits wait for.
  database.bytes_per_sync = kBackgroundSyncBytes;
  database.compaction_readahead_size = kCompactionReadAheadBytes;
  database.max_total_wal_size = 32ULL << 20;  // Else one quiet keyspace keeps every log file since its last write.
  database.max_open_files = kOpenFilesMax;
  database.max_background_jobs = 2;
  database.info_log = std::make_shared<NoInformationLog>();  // Shared, as the library asks.
  database.stats_dump_period_sec = 0;
  database.stats_persist_period_sec = 0;
  database.recycle_log_file_num = 0;
  database.manual_wal_flush = false;
  database.allow_mmap_reads = false;
  database.allow_mmap_writes = false;
  database.paranoid_checks = true;
  database.avoid_flush_during_shutdown = true;
  database.max_bgerror_resume_count = 0;
  database.listeners.push_back(std::make_shared<NoAutomaticRecovery>());
  // The tail of a log that was not synced may hold anything after a power cut. kAbsoluteConsistency would then
  // refuse to open, kTolerateCorruptedTailRecords takes a torn record for damage, kSkipAnyCorruptedRecords
  // would leave holes. Point-in-time recovery keeps the longest sound prefix. Its price: damage in the middle of
  // the log looks like its end; log files that are missing or shorter than when they were synced are noticed by the
  // next option, and a column family that is ahead of the log is an error.
  database.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  database.track_and_verify_wals_in_manifest = true;
  return database;
}

class RocksdbStore final : public Store {
 public:
  RocksdbStore(std::string path, StoreOptions options) : path_(std::move(path)), options_(std::move(options)) {}
  ~RocksdbStore() override;
  Status Open() { return OpenDatabase(std::numeric_limits<std::uint64_t>::max()); }

  StorageKind kind() const override { return StorageKind::kRocksdb; }
  Result<KeyspaceId> OpenKeyspace(const std::string& name, KeyspaceKind kind) override;
  Status DropKeyspace(const std::string& name) override;
  Result<std::vector<KeyspaceInfo>> ListKeyspaces() override;
  Result<std::unique_ptr<ReadTxn>> BeginRead() override;
  Result<std::unique_ptr<WriteTxn>> BeginWrite(std::chrono::milliseconds timeout) override;
  Status Checkpoint() override;
  Status Compact() override;
  Status Verify() override;
  Status Backup(const std::string& path) override;
  StoreStats Stats() override;

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  std::string Where() const { return "store \"" + path_ + "\""; }
  Status Check(const rocksdb::Status& status, std::string_view what) const { return FromRocksdb(status, path_, what); }
  Status OpenDatabase(std::uint64_t sequence_max);
  Status AdoptFamilies(const std::vector<rocksdb::ColumnFamilyHandle*>& handles);
  void CloseDatabase();
  Status CheckUsable() const;
  Result<WriterGatePass> EnterGate(std::chrono::milliseconds timeout, std::string_view what);
  Status Recover();
  Status ProbeSpace();
  void AddFileSizes(StoreStats& stats) const;
  std::uint64_t MemoryBytes(rocksdb::DB& db) const;
  void EndReader(TimePoint begun);
  std::optional<KeyspaceId> FindByName(const std::string& name) const;
  // Calls body(keyspace) for every keyspace there is now, until one fails.
  template <typename Body>
  Status ForEachKeyspace(const Body& body) const;

  const std::string path_;
  const StoreOptions options_;
  // Used by db_ until it goes.
  const std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(MakeOrderedFileSystem());
  const MemoryBudget budget_{options_.cache_bytes};
  RocksdbCatalog catalog_;
  WriterGate gate_;
  // Used by who is inside gate_.
  rocksdb::ColumnFamilyOptions family_options_;
  std::vector<std::string> names_by_id_;  // Of column families; empty where dropped.
  bool write_failed_ = false;
  std::uint64_t last_good_sequence_ = 0;  // When write_failed_ was set.

  std::mutex mutex_;
  std::multiset<TimePoint> open_readers_;  // Guarded by mutex_.
  // Replaced inside gate_, under mutex_ and without readers, so either of the three keeps it. Null after a reopening
  // that failed.
  std::shared_ptr<rocksdb::DB> db_;  // Shared with the keyspaces, whose handles go first.
  rocksdb::ColumnFamilyHandle* default_family_ = nullptr;
};

RocksdbStore::~RocksdbStore() {
  assert(open_readers_.empty() && "a transaction outlived its store");
  CloseDatabase();
}

// Every commit is in the log already, so there is nothing left that could fail.
void RocksdbStore::CloseDatabase() {
  catalog_.Replace(std::make_shared<RocksdbKeyspaces>());
  if (db_ == nullptr) return;
  if (default_family_ != nullptr) db_->DestroyColumnFamilyHandle(default_family_).PermitUncheckedError();
  default_family_ = nullptr;
  db_.reset();
}

Status RocksdbStore::OpenDatabase(std::uint64_t sequence_max) {
  if (!options_.create && !FileExists(path_ + "/CURRENT")) {
    return Status::NotFound(Where() + ": no such directory or no CURRENT in it, expected a RocksDB store");
  }
  // RocksDB would make it too, and leave its name to chance: a power cut could take the directory away with every
  // synced commit in it.
  if (options_.create) FORESHORE_RETURN_IF_ERROR(CreateDirectories(path_));
  FORESHORE_RETURN_IF_ERROR(TrimManifest(path_));
  family_options_ = ColumnFamilyOptionsFor(budget_);
  rocksdb::DBOptions database_options = DatabaseOptionsFor(options_, budget_);
  database_options.env = env_.get();
  CommittedRecords filter(sequence_max);
  if (sequence_max != std::numeric_limits<std::uint64_t>::max()) database_options.wal_filter = &filter;

  std::vector<std::string> names = {rocksdb::kDefaultColumnFamilyName};
  if (FileExists(path_ + "/CURRENT")) {
    names.clear();
    FORESHORE_RETURN_IF_ERROR(Check(rocksdb::DB::ListColumnFamilies(database_options, path_, &names), "open"));
  }
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) families.emplace_back(name, family_options_);
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  FORESHORE_RETURN_IF_ERROR(Check(rocksdb::DB::Open(database_options, path_, families, &handles, &opened), "open"));
  db_.reset(opened);
  return AdoptFamilies(handles);
}

// Gives every column family its id: the one it had before, where this is a reopening.
Status RocksdbStore::AdoptFamilies(const std::vector<rocksdb::ColumnFamilyHandle*>& handles) {
  auto keyspaces = std::make_shared<RocksdbKeyspaces>();
  Status status;
  const std::vector<std::string> known = names_by_id_;
  keyspaces->resize(known.size());
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    const std::string& full_name = handle->GetName();
    if (full_name == rocksdb::kDefaultColumnFamilyName) {
      default_family_ = handle;
      continue;
    }
    const bool is_integer = full_name.starts_with(kIntegerPrefix);
    if (!is_integer && !full_name.starts_with(kBytesPrefix)) {
      status = Status::Corruption(Where() + ": column family \"" + full_name + "\" is none of a keyspace");
    }
    const std::string name = full_name.substr(std::min(full_name.size(), kIntegerPrefix.size()));
    auto keyspace = std::make_shared<RocksdbKeyspace>(
        db_, name, is_integer ? KeyspaceKind::kInteger : KeyspaceKind::kBytes, handle);
    const auto found = std::find(known.begin(), known.end(), full_name);
    if (found == known.end()) {
      keyspaces->push_back(std::move(keyspace));
      names_by_id_.push_back(full_name);
    } else {
      (*keyspaces)[static_cast<std::size_t>(found - known.begin())] = std::move(keyspace);
    }
  }
  catalog_.Replace(std::move(keyspaces));
  return status;
}

Status RocksdbStore::CheckUsable() const {
  if (db_ != nullptr) return Status::Ok();
  return Status::Io(Where() + ": closed after a failed write, and could not be reopened yet");
}

Result<WriterGatePass> RocksdbStore::EnterGate(std::chrono::milliseconds timeout, std::string_view what) {
  if (!gate_.Enter(timeout, what)) {
    return Status::Busy(Where() + ": " + std::string(what) + " waited " + std::to_string(timeout.count()) +
                        " ms for another writer: " + gate_.DescribeHolder());
  }
  WriterGatePass pass(gate_);
  FORESHORE_RETURN_IF_ERROR(Recover());
  return pass;
}

// Recovery writes the log's content into tables. While there is no room for it, the store stays open for readers.
Status RocksdbStore::ProbeSpace() {
  const std::string path = path_ + "/space.probe";
  const Status probed = [&] {
    FORESHORE_ASSIGN_OR_RETURN(const auto file, File::Create(path));
    StoreStats files;
    AddFileSizes(files);
    const ByteString block(1 << 20, '\0');
    for (std::uint64_t written = 0; written <= files.write_ahead_bytes; written += block.size()) {
      FORESHORE_RETURN_IF_ERROR(file->Append(block));
    }
    return file->Close();
  }();
  RemoveFile(path).IgnoreError();
  return probed;
}

// Inside the gate. After a failed write RocksDB refuses every later one, and its log file may hold the refused batch or
// a part of it; appending behind that would put a hole in the log. Reopening leaves the refused batch out and begins a
// new log file.
Status RocksdbStore::Recover() {
  if (!write_failed_) return Status::Ok();
  const std::lock_guard lock(mutex_);
  if (!open_readers_.empty()) {
    return Status::Busy(Where() + ": must be reopened after a failed write, and has " +
                        std::to_string(open_readers_.size()) + " open readers, expected none");
  }
  FORESHORE_RETURN_IF_ERROR(ProbeSpace());
  CloseDatabase();
  FORESHORE_RETURN_IF_ERROR(OpenDatabase(last_good_sequence_).WithContext("reopening after a failed write"));
  write_failed_ = false;
  return Status::Ok();
}

std::optional<KeyspaceId> RocksdbStore::FindByName(const std::string& name) const {
  const std::shared_ptr<const RocksdbKeyspaces> keyspaces = catalog_.current();
  for (std::size_t index = 0; index < keyspaces->size(); ++index) {
    if ((*keyspaces)[index] != nullptr && (*keyspaces)[index]->name == name) return static_cast<KeyspaceId>(index);
  }
  return std::nullopt;
}

template <typename Body>
Status RocksdbStore::ForEachKeyspace(const Body& body) const {
  const std::shared_ptr<const RocksdbKeyspaces> keyspaces = catalog_.current();
  for (const auto& keyspace : *keyspaces) {
    if (keyspace != nullptr) FORESHORE_RETURN_IF_ERROR(body(*keyspace));
  }
  return Status::Ok();
}

Result<KeyspaceId> RocksdbStore::OpenKeyspace(const std::string& name, KeyspaceKind kind) {
  FORESHORE_RETURN_IF_ERROR(CheckKeyspaceName(name));
  std::optional<KeyspaceId> id = FindByName(name);
  if (!id.has_value()) {
    FORESHORE_ASSIGN_OR_RETURN(const WriterGatePass pass, EnterGate(kMaintenanceTimeout, "open keyspace"));
    id = FindByName(name);  // Another thread may have made it before this one came through the gate.
    if (!id.has_value()) {
      const std::string full_name = std::string(kind == KeyspaceKind::kInteger ? kIntegerPrefix : kBytesPrefix) + name;
      rocksdb::ColumnFamilyHandle* handle = nullptr;
      FORESHORE_RETURN_IF_ERROR(
          Check(db_->CreateColumnFamily(family_options_, full_name, &handle), "create keyspace \"" + name + "\""));
      auto keyspaces = std::make_shared<RocksdbKeyspaces>(*catalog_.current());
      keyspaces->push_back(std::make_shared<RocksdbKeyspace>(db_, name, kind, handle));
      id = static_cast<KeyspaceId>(keyspaces->size() - 1);
      names_by_id_.push_back(full_name);
      catalog_.Replace(std::move(keyspaces));
    }
  }
  const std::shared_ptr<const RocksdbKeyspaces> keyspaces = catalog_.current();
  if ((*keyspaces)[*id] == nullptr || (*keyspaces)[*id]->kind == kind) return *id;
  return Status::InvalidArgument(
      Where() + ": keyspace \"" + name + "\" has " +
      (kind == KeyspaceKind::kBytes ? "integer keys, expected byte keys" : "byte keys, expected integer keys"));
}

Status RocksdbStore::DropKeyspace(const std::string& name) {
  FORESHORE_RETURN_IF_ERROR(CheckKeyspaceName(name));
  FORESHORE_ASSIGN_OR_RETURN(const WriterGatePass pass, EnterGate(kMaintenanceTimeout, "drop keyspace"));
  const std::optional<KeyspaceId> id = FindByName(name);
  if (!id.has_value()) return Status::NotFound(Where() + ": no keyspace \"" + name + "\"");
  auto keyspaces = std::make_shared<RocksdbKeyspaces>(*catalog_.current());
  FORESHORE_RETURN_IF_ERROR(Check(db_->DropColumnFamily((*keyspaces)[*id]->handle), "drop keyspace \"" + name + "\""));
  (*keyspaces)[*id] = nullptr;
  names_by_id_[*id].clear();
  catalog_.Replace(std::move(keyspaces));
  return Status::Ok();
}

Result<std::vector<KeyspaceInfo>> RocksdbStore::ListKeyspaces() {
  std::vector<KeyspaceInfo> infos;
  FORESHORE_RETURN_IF_ERROR(ForEachKeyspace([&](const RocksdbKeyspace& keyspace) {
    infos.push_back({keyspace.name, keyspace.kind});
    return Status::Ok();
  }));
  std::sort(infos.begin(), infos.end(),
            [](const KeyspaceInfo& left, const KeyspaceInfo& right) { return left.name < right.name; });
  return infos;
}

Result<std::unique_ptr<ReadTxn>> RocksdbStore::BeginRead() {
  const std::lock_guard lock(mutex_);
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const TimePoint begun = std::chrono::steady_clock::now();
  open_readers_.insert(begun);
  return std::unique_ptr<ReadTxn>(
      std::make_unique<RocksdbReadTxn>(*db_, path_, catalog_, db_->GetSnapshot(), [this, begun] { EndReader(begun); }));
}

void RocksdbStore::EndReader(TimePoint begun) {
  const std::lock_guard lock(mutex_);
  open_readers_.erase(open_readers_.find(begun));
}

Result<std::unique_ptr<WriteTxn>> RocksdbStore::BeginWrite(std::chrono::milliseconds timeout) {
  FORESHORE_ASSIGN_OR_RETURN(WriterGatePass pass, EnterGate(timeout, "begin write"));
  pass.Hand();
  const auto on_end = [this](bool commit_failed) {
    if (commit_failed && !write_failed_) {
      write_failed_ = true;
      last_good_sequence_ = db_->GetLatestSequenceNumber();
    }
    gate_.Leave();
  };
  return std::unique_ptr<WriteTxn>(
      std::make_unique<RocksdbWriteTxn>(*db_, path_, catalog_, options_.durability, on_end));
}

Status RocksdbStore::Checkpoint() {
  FORESHORE_ASSIGN_OR_RETURN(const WriterGatePass pass, EnterGate(kMaintenanceTimeout, "checkpoint"));
  const std::shared_ptr<const RocksdbKeyspaces> keyspaces = catalog_.current();
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  for (const auto& keyspace : *keyspaces) {
    if (keyspace != nullptr) handles.push_back(keyspace->handle);
  }
  return handles.empty() ? Status::Ok() : Check(db_->Flush(rocksdb::FlushOptions(), handles), "checkpoint");
}

Status RocksdbStore::Compact() {
  FORESHORE_ASSIGN_OR_RETURN(const WriterGatePass pass, EnterGate(kMaintenanceTimeout, "compact"));
  return ForEachKeyspace([this](const RocksdbKeyspace& keyspace) {
    rocksdb::CompactRangeOptions options;
    options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    return Check(db_->CompactRange(options, keyspace.handle, nullptr, nullptr), "compact");
  });
}

// Every block of every table by its checksum, then every entry in order.
Status RocksdbStore::Verify() {
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, BeginRead());  // Keeps db_ where it is.
  FORESHORE_RETURN_IF_ERROR(Check(db_->VerifyChecksum(rocksdb::ReadOptions()), "verify"));
  const std::shared_ptr<const RocksdbKeyspaces> keyspaces = catalog_.current();
  for (std::size_t id = 0; id < keyspaces->size(); ++id) {
    if ((*keyspaces)[id] == nullptr) continue;
    const Result<std::unique_ptr<Cursor>> cursor = txn->NewCursor(static_cast<KeyspaceId>(id));
    if (cursor.status().code() == ErrorCode::kNotFound) continue;  // Dropped meanwhile.
    FORESHORE_RETURN_IF_ERROR(cursor.status());
    FORESHORE_RETURN_IF_ERROR((*cursor)->SeekFirst());
    while ((*cursor)->valid()) FORESHORE_RETURN_IF_ERROR((*cursor)->Next());
  }
  return Status::Ok();
}

Status RocksdbStore::Backup(const std::string& path) {
  if (FileExists(path)) return Status::AlreadyExists("backup \"" + path + "\": exists, expected a new path");
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, BeginRead());  // Keeps db_ where it is.
  rocksdb::Checkpoint* made = nullptr;
  FORESHORE_RETURN_IF_ERROR(Check(rocksdb::Checkpoint::Create(db_.get(), &made), "backup"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  return Check(checkpoint->CreateCheckpoint(path), "backup");
}

void RocksdbStore::AddFileSizes(StoreStats& stats) const {
  const Result<std::vector<std::string>> names = ListDirectory(path_);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    const Result<std::uint64_t> size_bytes = FileSizeBytes(path_ + "/" + name);
    if (!size_bytes.ok()) continue;  // Compaction removes files while this runs.
    stats.disk_bytes += *size_bytes;
    if (name.ends_with(".log")) stats.write_ahead_bytes += *size_bytes;
  }
}

// Counted apart from the budget that is to hold it.
std::uint64_t RocksdbStore::MemoryBytes(rocksdb::DB& db) const {
  const std::size_t cached = budget_.cache->GetUsage();
  std::uint64_t bytes = cached - std::min(cached, budget_.buffers->dummy_entries_in_cache_usage());
  for (const auto& property :
       {rocksdb::DB::Properties::kSizeAllMemTables, rocksdb::DB::Properties::kEstimateTableReadersMem}) {
    std::uint64_t value = 0;
    if (db.GetAggregatedIntProperty(property, &value)) bytes += value;
  }
  return bytes;
}

StoreStats RocksdbStore::Stats() {
  StoreStats stats;
  AddFileSizes(stats);
  std::shared_ptr<rocksdb::DB> db;
  {
    const std::lock_guard lock(mutex_);
    db = db_;
  }
  if (db != nullptr) stats.memory_bytes = MemoryBytes(*db);
  const std::lock_guard lock(mutex_);
  stats.open_reader_count = open_readers_.size();
  if (!open_readers_.empty()) {
    const auto age = std::chrono::steady_clock::now() - *open_readers_.begin();
    stats.oldest_reader_age_ms = std::chrono::duration_cast<std::chrono::milliseconds>(age).count();
  }
  return stats;
}

}  // namespace

Result<std::unique_ptr<Store>> OpenRocksdbStore(const std::string& path, const StoreOptions& options) {
  auto store = std::make_unique<RocksdbStore>(path, options);
  FORESHORE_RETURN_IF_ERROR(store->Open());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace foreshore
