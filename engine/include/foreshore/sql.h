// SQL values, statements and result tables.
#pragma once

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

}  // namespace foreshore
