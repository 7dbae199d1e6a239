#include "storage/rocksdb_transaction.h"

#include <cassert>

#include "storage/base/coding.h"
#include "storage/store_limits.h"

namespace foreshore {
namespace {

constexpr std::size_t kIntegerKeyBytes = 8;
// RocksDB's own bound on one batch is 4 GiB; memory on a device ends long before.
constexpr std::size_t kBatchBytesMax = 1ULL << 30;

rocksdb::Slice AsSlice(Bytes bytes) {
  return {bytes.data(), bytes.size()};
}

Bytes FromSlice(const rocksdb::Slice& slice) {
  return AsBytes(slice.data(), slice.size());
}

// Eight bytes stay in the string itself, so this allocates nothing.
ByteString EncodeKey(std::int64_t key) {
  ByteString encoded;
  AppendSortable64(encoded, key);
  return encoded;
}

class RocksdbCursor final : public Cursor {
 public:
  // Gives null for a keyspace that the transaction cannot see yet.
  using NewIterator = std::function<std::unique_ptr<rocksdb::Iterator>()>;
  RocksdbCursor(NewIterator new_iterator, const std::string& path, KeyspaceKind kind, int& open_count,
                const std::uint64_t& rollback_count)
      : new_iterator_(std::move(new_iterator)),
        iterator_(new_iterator_()),
        path_(path),
        kind_(kind),
        open_count_(open_count),
        rollback_count_(rollback_count),
        seen_rollback_count_(rollback_count) {
    ++open_count_;
  }
  ~RocksdbCursor() override { --open_count_; }

  Status SeekFirst() override {
    Refresh();
    if (iterator_ != nullptr) iterator_->SeekToFirst();
    return Arrive();
  }
  Status SeekLast() override {
    Refresh();
    if (iterator_ != nullptr) iterator_->SeekToLast();
    return Arrive();
  }
  Status Seek(std::int64_t key) override { return SeekEncoded(KeyspaceKind::kInteger, EncodeKey(key), true); }
  Status Seek(Bytes key) override { return SeekEncoded(KeyspaceKind::kBytes, key, true); }
  Status SeekBackward(std::int64_t key) override { return SeekEncoded(KeyspaceKind::kInteger, EncodeKey(key), false); }
  Status SeekBackward(Bytes key) override { return SeekEncoded(KeyspaceKind::kBytes, key, false); }
  Status Next() override {
    assert(valid_);
    FORESHORE_RETURN_IF_ERROR(CheckPosition());
    iterator_->Next();
    return Arrive();
  }
  Status Previous() override {
    assert(valid_);
    FORESHORE_RETURN_IF_ERROR(CheckPosition());
    iterator_->Prev();
    return Arrive();
  }

  bool valid() const override { return valid_; }
  std::int64_t integer_key() const override {
    assert(valid_ && kind_ == KeyspaceKind::kInteger);
    return LoadSortable64(iterator_->key().data());
  }
  Bytes bytes_key() const override {
    assert(valid_ && kind_ == KeyspaceKind::kBytes);
    return FromSlice(iterator_->key());
  }
  Bytes value() const override {
    assert(valid_);
    return FromSlice(iterator_->value());
  }

 private:
  // A rollback to a savepoint rebuilds the batch's index, and with it goes the memory that the iterator stands on.
  void Refresh() {
    if (seen_rollback_count_ != rollback_count_) iterator_ = new_iterator_();
    seen_rollback_count_ = rollback_count_;
  }
  Status CheckPosition() {
    if (seen_rollback_count_ == rollback_count_) return Status::Ok();
    valid_ = false;
    return Status::InvalidArgument("store \"" + path_ +
                                   "\": cursor moved on after a rollback to a savepoint, expected a seek");
  }

  Status SeekEncoded(KeyspaceKind kind, Bytes key, bool forward) {
    valid_ = false;
    if (kind != kind_) {
      return Status::InvalidArgument("store \"" + path_ + "\": cursor was given a key of the other kind");
    }
    const ByteString copy(key);  // It may be this cursor's own key, which a seek overwrites.
    Refresh();
    if (iterator_ == nullptr) return Status::Ok();
    if (forward) {
      iterator_->Seek(AsSlice(copy));
    } else {
      iterator_->SeekForPrev(AsSlice(copy));
    }
    return Arrive();
  }

  Status Arrive() {
    valid_ = iterator_ != nullptr && iterator_->Valid();
    if (iterator_ == nullptr) return Status::Ok();
    if (!valid_) return FromRocksdb(iterator_->status(), path_, "scan");
    if (kind_ == KeyspaceKind::kInteger && iterator_->key().size() != kIntegerKeyBytes) {
      valid_ = false;
      return Status::Corruption("store \"" + path_ + "\": key of " + std::to_string(iterator_->key().size()) +
                                " bytes, expected 8");
    }
    return Status::Ok();
  }

  const NewIterator new_iterator_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
  const std::string& path_;
  const KeyspaceKind kind_;
  int& open_count_;
  const std::uint64_t& rollback_count_;  // Its transaction's.
  std::uint64_t seen_rollback_count_;    // When iterator_ was made.
  bool valid_ = false;
};

}  // namespace

Status FromRocksdb(const rocksdb::Status& status, const std::string& path, std::string_view what) {
  if (status.ok()) return Status::Ok();
  const std::string message = "store \"" + path + "\": " + std::string(what) + " failed: " + status.ToString();
  if (status.IsNoSpace()) return Status::NoSpace(message);
  if (status.IsCorruption()) return Status::Corruption(message);
  if (status.IsBusy() || status.IsTimedOut() || status.IsTryAgain()) return Status::Busy(message);
  if (status.IsNotSupported()) return Status::Unsupported(message);
  if (status.IsInvalidArgument()) return Status::InvalidArgument(message);
  return Status::Io(message);
}

Result<RocksdbKeyspace*> RocksdbReads::Find(KeyspaceId keyspace) const {
  if (keyspace < keyspaces_->size() && (*keyspaces_)[keyspace] != nullptr) return (*keyspaces_)[keyspace].get();
  const std::shared_ptr<const RocksdbKeyspaces> current = catalog_.current();
  const std::string what = "store \"" + path_ + "\": keyspace id " + std::to_string(keyspace);
  if (keyspace >= current->size()) return Status::InvalidArgument(what + " was never opened");
  if ((*current)[keyspace] == nullptr) return Status::NotFound(what + " was dropped");
  return static_cast<RocksdbKeyspace*>(nullptr);
}

Result<RocksdbKeyspace*> RocksdbReads::Find(KeyspaceId keyspace, KeyspaceKind kind) const {
  FORESHORE_ASSIGN_OR_RETURN(RocksdbKeyspace * found, Find(keyspace));
  if (found == nullptr || found->kind == kind) return found;
  return Status::InvalidArgument(
      "store \"" + path_ + "\": keyspace \"" + found->name + "\" has " +
      (kind == KeyspaceKind::kBytes ? "integer keys, found a byte key" : "byte keys, found an integer key"));
}

Result<std::optional<Bytes>> RocksdbReads::GetEncoded(RocksdbKeyspace* keyspace, Bytes key) {
  value_.Reset();
  if (keyspace == nullptr) return std::optional<Bytes>();
  const rocksdb::Status status =
      batch_ == nullptr ? db_.Get(options_, keyspace->handle, AsSlice(key), &value_)
                        : batch_->GetFromBatchAndDB(&db_, options_, keyspace->handle, AsSlice(key), &value_);
  if (status.ok()) return std::optional<Bytes>(FromSlice(value_));
  if (status.IsNotFound()) return std::optional<Bytes>();
  return FromRocksdb(status, path_, "get from keyspace \"" + keyspace->name + "\"");
}

Result<std::optional<Bytes>> RocksdbReads::Get(KeyspaceId keyspace, std::int64_t key) {
  FORESHORE_ASSIGN_OR_RETURN(RocksdbKeyspace * found, Find(keyspace, KeyspaceKind::kInteger));
  return GetEncoded(found, EncodeKey(key));
}

Result<std::optional<Bytes>> RocksdbReads::Get(KeyspaceId keyspace, Bytes key) {
  FORESHORE_ASSIGN_OR_RETURN(RocksdbKeyspace * found, Find(keyspace, KeyspaceKind::kBytes));
  return GetEncoded(found, key);
}

Result<std::unique_ptr<Cursor>> RocksdbReads::NewCursor(KeyspaceId keyspace) {
  value_.Reset();
  FORESHORE_ASSIGN_OR_RETURN(RocksdbKeyspace * found, Find(keyspace));
  RocksdbCursor::NewIterator new_iterator = [] { return std::unique_ptr<rocksdb::Iterator>(); };
  KeyspaceKind kind = KeyspaceKind::kInteger;
  if (found == nullptr) {
    const std::shared_ptr<const RocksdbKeyspaces> current = catalog_.current();
    if ((*current)[keyspace] == nullptr) {
      return Status::NotFound("store \"" + path_ + "\": keyspace id " + std::to_string(keyspace) + " was dropped");
    }
    kind = (*current)[keyspace]->kind;
  } else {
    kind = found->kind;
    new_iterator = [this, handle = found->handle] {
      rocksdb::Iterator* stored = db_.NewIterator(options_, handle);
      return std::unique_ptr<rocksdb::Iterator>(batch_ == nullptr ? stored
                                                                  : batch_->NewIteratorWithBase(handle, stored));
    };
  }
  return std::unique_ptr<Cursor>(
      std::make_unique<RocksdbCursor>(std::move(new_iterator), path_, kind, open_cursor_count_, rollback_count_));
}

RocksdbReadTxn::~RocksdbReadTxn() {
  assert(reads_.open_cursor_count() == 0 && "a cursor outlived its transaction");
  reads_.EndGet();
  db_.ReleaseSnapshot(snapshot_);
  on_end_();
}

RocksdbWriteTxn::~RocksdbWriteTxn() {
  assert(reads_.open_cursor_count() == 0 && "a cursor outlived its transaction");
  End();
}

void RocksdbWriteTxn::End() {
  ended_ = true;
  if (!on_end_) return;
  reads_.EndGet();
  const OnEnd on_end = std::move(on_end_);
  on_end_ = nullptr;
  on_end(commit_failed_);
}

Status RocksdbWriteTxn::CheckOpen() const {
  if (!failure_.ok()) return failure_;
  if (!ended_) return Status::Ok();
  return Status::InvalidArgument("store \"" + reads_.path() + "\": the transaction has ended already");
}

Result<std::optional<Bytes>> RocksdbWriteTxn::Get(KeyspaceId keyspace, std::int64_t key) {
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  return reads_.Get(keyspace, key);
}

Result<std::optional<Bytes>> RocksdbWriteTxn::Get(KeyspaceId keyspace, Bytes key) {
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  return reads_.Get(keyspace, key);
}

Result<std::unique_ptr<Cursor>> RocksdbWriteTxn::NewCursor(KeyspaceId keyspace) {
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  return reads_.NewCursor(keyspace);
}

// A null `value` deletes.
Status RocksdbWriteTxn::Write(KeyspaceId keyspace, KeyspaceKind kind, Bytes key, const Bytes* value) {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  FORESHORE_ASSIGN_OR_RETURN(RocksdbKeyspace * found, reads_.Find(keyspace, kind));
  if (found == nullptr) return Status::Internal("store \"" + reads_.path() + "\": keyspace made under a writer");
  if (batch_.GetDataSize() > kBatchBytesMax) {
    failure_ = Status::Limit("store \"" + reads_.path() + "\": transaction of more than " +
                             std::to_string(kBatchBytesMax) + " bytes");
    return failure_;
  }
  const rocksdb::Status status = value == nullptr ? batch_.Delete(found->handle, AsSlice(key))
                                                  : batch_.Put(found->handle, AsSlice(key), AsSlice(*value));
  if (!status.ok()) failure_ = FromRocksdb(status, reads_.path(), "write to keyspace \"" + found->name + "\"");
  return failure_;
}

Status RocksdbWriteTxn::Put(KeyspaceId keyspace, std::int64_t key, Bytes value) {
  FORESHORE_RETURN_IF_ERROR(CheckValueBytes(value.size()));
  return Write(keyspace, KeyspaceKind::kInteger, EncodeKey(key), &value);
}

Status RocksdbWriteTxn::Put(KeyspaceId keyspace, Bytes key, Bytes value) {
  FORESHORE_RETURN_IF_ERROR(CheckEntryBytes(key.size(), value.size()));
  return Write(keyspace, KeyspaceKind::kBytes, key, &value);
}

Status RocksdbWriteTxn::Delete(KeyspaceId keyspace, std::int64_t key) {
  return Write(keyspace, KeyspaceKind::kInteger, EncodeKey(key), nullptr);
}

Status RocksdbWriteTxn::Delete(KeyspaceId keyspace, Bytes key) {
  return Write(keyspace, KeyspaceKind::kBytes, key, nullptr);
}

Status RocksdbWriteTxn::CheckSavepoint() const {
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  if (savepoint_count_ > 0) return Status::Ok();
  return Status::InvalidArgument("store \"" + reads_.path() + "\": the transaction has no savepoint");
}

Status RocksdbWriteTxn::MakeSavepoint() {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  batch_.SetSavePoint();
  ++savepoint_count_;
  return Status::Ok();
}

Status RocksdbWriteTxn::RollbackToSavepoint() {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckSavepoint());
  reads_.NoteRollback();
  failure_ = FromRocksdb(batch_.RollbackToSavePoint(), reads_.path(), "rollback to savepoint");
  FORESHORE_RETURN_IF_ERROR(failure_);
  batch_.SetSavePoint();  // The library's rollback releases it.
  return Status::Ok();
}

Status RocksdbWriteTxn::ReleaseSavepoint() {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckSavepoint());
  failure_ = FromRocksdb(batch_.PopSavePoint(), reads_.path(), "release savepoint");
  if (failure_.ok()) --savepoint_count_;
  return failure_;
}

Status RocksdbWriteTxn::Commit() {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  ended_ = true;
  Status status;
  if (batch_.GetWriteBatch()->Count() > 0) {
    rocksdb::WriteOptions options;
    options.sync = durability_ == Durability::kFull;
    // One batch over all column families is one record of the log: all of it is recovered or none.
    status = FromRocksdb(db_.Write(options, batch_.GetWriteBatch()), reads_.path(), "commit");
  }
  commit_failed_ = !status.ok();
  // An open cursor still reads through the batch, so the next writer has to wait for the destructor.
  if (reads_.open_cursor_count() == 0) End();
  return status;
}

}  // namespace foreshore
