// SQL values, statements and result tables.
#pragma once

#include <cstddef>
#include <cstdint>
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

// A compiled statement. Reads run in the snapshot taken at the first Step; a writing statement is one transaction that
// commits when Step returns false.
class Statement {
 public:
  virtual ~Statement() = default;
  virtual Status Bind(int index, const SqlValue& value) = 0;                     // From 1.
  virtual Status BindNamed(const std::string& name, const SqlValue& value) = 0;  // ":name"
  // True: a row is there. False: done. An error ends the statement and undoes its writes.
  virtual Result<bool> Step() = 0;
  virtual Status Reset() = 0;
  virtual const std::vector<std::string>& columns() const = 0;
  // Of the current row; valid until the next Step or Reset.
  virtual SqlValue Column(int index) const = 0;
  virtual std::int64_t changed_count() const = 0;
};

// Statements that share transactions: BEGIN (of any kind) takes the write lock at once, and every statement belongs to
// that transaction until COMMIT or ROLLBACK. There are no savepoints: a statement that fails after it wrote rolls the
// whole transaction back, and its error says so.
// Threads: one at a time; a transaction ends on the thread that began it. Goes before its Database; an open transaction
// is rolled back.
class SqlConnection {
 public:
  virtual ~SqlConnection() = default;
  // Compiles the first statement of `sql`. With `consumed_bytes` it says where the next one begins, and returns a null
  // pointer where only white space and comments are left; without, anything behind the statement is refused.
  virtual Result<std::unique_ptr<Statement>> Prepare(std::string_view sql, std::size_t* consumed_bytes = nullptr) = 0;
  virtual bool in_transaction() const = 0;
};

}  // namespace foreshore
