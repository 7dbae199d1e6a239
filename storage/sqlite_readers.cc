#include "storage/sqlite_readers.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace foreshore {

SqliteReaders::~SqliteReaders() {
  assert(open_.empty() && "a transaction outlived its store");
}

std::uint64_t SqliteReaders::ShareBytes(std::size_t reader_count) const {
  return options_.cache_bytes / 2 / std::max<std::size_t>(1, reader_count);
}

Result<SqliteConnection*> SqliteReaders::TakeWithSnapshot() {
  {
    const std::lock_guard lock(mutex_);
    if (!has_writer_ && !idle_.empty() && idle_.back().snapshot == writer_count_) {
      Reader reader = std::move(idle_.back());
      idle_.pop_back();
      reader.begun = std::chrono::steady_clock::now();
      SqliteConnection* connection = reader.connection.get();
      open_.push_back(std::move(reader));
      return connection;
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(SqliteConnection * connection, Take());
  {
    // Noted before the snapshot is taken: a commit in between makes it newer than it says, never older.
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(open_.begin(), open_.end(),
                                    [&](const Reader& reader) { return reader.connection.get() == connection; });
    found->snapshot = has_writer_ ? 0 : writer_count_;
  }
  struct Loan {
    SqliteReaders& readers;
    SqliteConnection* connection;
    ~Loan() {
      if (connection != nullptr) readers.Return(connection, false);
    }
  } loan{*this, connection};  // Memory may run out in what follows.
  FORESHORE_RETURN_IF_ERROR(connection->BeginRead());
  return std::exchange(loan.connection, nullptr);
}

Result<SqliteConnection*> SqliteReaders::Take() {
  Reader reader;
  std::uint64_t share_bytes = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      reader = std::move(idle_.back());
      idle_.pop_back();
    }
    share_bytes = ShareBytes(idle_.size() + open_.size() + 1);
    if (reader.connection == nullptr) {
      for (Reader& each : idle_) FORESHORE_RETURN_IF_ERROR(each.connection->SetCacheBytes(share_bytes));
    }
  }
  if (reader.connection == nullptr) {
    FORESHORE_ASSIGN_OR_RETURN(reader.connection,
                               SqliteConnection::Open(path_, SqliteConnection::Role::kReader, options_, keyspaces_));
  }
  reader.connection->Rollback();
  reader.connection->TrimStatements();
  FORESHORE_RETURN_IF_ERROR(reader.connection->SetCacheBytes(share_bytes));
  reader.snapshot = 0;
  reader.begun = std::chrono::steady_clock::now();
  SqliteConnection* connection = reader.connection.get();
  const std::lock_guard lock(mutex_);
  open_.push_back(std::move(reader));
  return connection;
}

void SqliteReaders::Return(SqliteConnection* connection, bool is_sound) {
  Reader reader;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(open_.begin(), open_.end(),
                                    [&](const Reader& each) { return each.connection.get() == connection; });
    assert(found != open_.end());
    reader = std::move(*found);
    *found = std::move(open_.back());
    open_.pop_back();
    if (is_sound && !has_writer_ && reader.snapshot == writer_count_ && idle_.size() < kIdleReadersMax &&
        connection->in_transaction() && !connection->has_many_statements()) {
      idle_.push_back(std::move(reader));
      return;
    }
  }
  connection->Rollback();
  reader.snapshot = 0;
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kIdleReadersMax) idle_.push_back(std::move(reader));
}

void SqliteReaders::WriterEnters() {
  const std::lock_guard lock(mutex_);
  has_writer_ = true;
  ++writer_count_;
  for (Reader& reader : idle_) {
    reader.connection->Rollback();
    reader.snapshot = 0;
  }
}

void SqliteReaders::WriterLeaves() {
  const std::lock_guard lock(mutex_);
  has_writer_ = false;
}

std::size_t SqliteReaders::open_count() const {
  const std::lock_guard lock(mutex_);
  return open_.size();
}

std::chrono::steady_clock::duration SqliteReaders::OldestAge() const {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  auto oldest = std::chrono::steady_clock::duration::zero();
  for (const Reader& reader : open_) oldest = std::max(oldest, now - reader.begun);
  return oldest;
}

}  // namespace foreshore
