// SQL values, statements and result tables.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// A blob, kept apart from text.
struct SqlBlob {
  ByteString bytes;
  friend bool operator==(const SqlBlob&, const SqlBlob&) = default;
};
using SqlValue = std::variant<std::monostate, std::int64_t, double, std::string, SqlBlob>;

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<SqlValue>> rows;
  std::int64_t changed_count = 0;  // Documents written by INSERT, UPDATE or DELETE.
};

// What bounds the waiting and running of statements.
struct SqlOptions {
  // How long a statement waits for another writer; then kBusy, which says who that is.
  std::chrono::milliseconds busy_timeout{5000};
  // How long a statement may run and wait, the time between its steps not counted; then kCancelled. 0: no limit.
  std::chrono::milliseconds time_limit{0};
  // Asked about every 50 ms while a statement runs or waits, on its thread; false stops it with kCancelled. It must not
  // use the connection.
  std::function<bool()> keep_going = nullptr;
};

// A compiled statement. Reads run in the snapshot taken at the first Step; a writing statement is one transaction that
// commits when Step returns false.
class Statement {
 public:
  virtual ~Statement() = default;
  virtual Status Bind(int index, const SqlValue& value) = 0;                     // From 1.
  virtual Status BindNamed(const std::string& name, const SqlValue& value) = 0;  // ":name"
  // True: a row is there. False: done. An error ends the statement and undoes its writes, and inside a transaction only
  // these.
  virtual Result<bool> Step() = 0;
  virtual Status Reset() = 0;
  virtual const std::vector<std::string>& columns() const = 0;
  // Of the current row; valid until the next Step or Reset.
  virtual SqlValue Column(int index) const = 0;
  virtual std::int64_t changed_count() const = 0;
  // From any thread while the statement lives: makes the run in progress, from its first Step to its end, fail with
  // kCancelled. Does nothing where there is none.
  virtual void Cancel() = 0;
};

// Statements that share transactions: every statement belongs to the one that BEGIN or SAVEPOINT opened, until COMMIT,
// ROLLBACK, or the RELEASE of that savepoint. A statement that fails is undone alone and the transaction goes on,
// unless the store itself failed: then all of it is rolled back, and the error says so. BEGIN takes a snapshot with the
// first statement that reads and the write lock with the first one that writes, which gives kConflict where others
// committed in between; BEGIN IMMEDIATE takes the lock at once. Threads: one at a time, but for Interrupt. Goes before
// its Database; an open transaction is rolled back.
class SqlConnection {
 public:
  virtual ~SqlConnection() = default;
  // Compiles the first statement of `sql`. With `consumed_bytes` it says where the next one begins, and returns a null
  // pointer where only white space and comments are left; without, anything behind the statement is refused.
  virtual Result<std::unique_ptr<Statement>> Prepare(std::string_view sql, std::size_t* consumed_bytes = nullptr) = 0;
  virtual bool in_transaction() const = 0;
  // From any thread: makes all statements that are running, from their first Step to their end, fail with kCancelled.
  // Statements that begin later, and the transaction, go on.
  virtual void Interrupt() = 0;
};

}  // namespace foreshore
