// What every C function is made of: handles, arguments checked, exceptions caught, a Status turned into code and error.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore.h"
#include "foreshore/database.h"
#include "foreshore/status.h"

// `open_count` counts transactions, connections and statements, which must end before the database closes.
struct foreshore_database {
  std::unique_ptr<foreshore::Database> database;
  std::atomic<int> open_count = 0;
};

struct foreshore_document {
  foreshore::Document document;
};

struct foreshore_transaction {
  foreshore_database* owner;
  std::unique_ptr<foreshore::Transaction> transaction;
};

struct foreshore_connection {
  foreshore_database* owner;
  std::unique_ptr<foreshore::SqlConnection> connection;
};

// `row` keeps the current row's values alive for the pointers that foreshore_column gave out.
struct foreshore_statement {
  foreshore_database* owner;
  std::unique_ptr<foreshore::Statement> statement;
  std::vector<std::unique_ptr<foreshore::SqlValue>> row;
  bool has_row = false;
};

struct foreshore_hits {
  std::vector<foreshore::SearchHit> hits;
};

namespace foreshore::c {

// Fills `error`, which may be null, and returns the code.
int32_t Report(const Status& status, foreshore_error* error) noexcept;

// Runs `work`, which returns a Status, and lets no exception out.
template <typename Work>
int32_t Call(foreshore_error* error, Work&& work) noexcept {
  try {
    return Report(work(), error);
  } catch (const std::bad_alloc&) {
    return Report(Status(ErrorCode::kLimit, "memory: none left"), error);
  } catch (const std::exception& exception) {
    return Report(Status(ErrorCode::kInternal, exception.what()), error);
  } catch (...) {
    return Report(Status(ErrorCode::kInternal, "unknown exception"), error);
  }
}

// kInvalidArgument naming the argument where a pointer is null.
Status Require(const void* pointer, const char* argument);

// The same for several: Required(database, "database", id, "id").
inline Status Required() {
  return Status::Ok();
}
template <typename... Rest>
Status Required(const void* pointer, const char* argument, Rest... rest) {
  FORESHORE_RETURN_IF_ERROR(Require(pointer, argument));
  return Required(rest...);
}

inline std::string OrEmpty(const char* text) {
  return text == nullptr ? std::string() : std::string(text);
}

// A copy for the caller to foreshore_free. `size_bytes` may be null.
Status CopyOut(std::string_view text, char** out, size_t* size_bytes = nullptr);

Result<SqlValue> FromValue(const foreshore_value& value);
// What it points to lives as long as `value`.
foreshore_value ToValue(const SqlValue& value);

// Copies what the caller's version of an options struct has, and leaves the rest zero. A null `source` is all zero.
template <typename Options>
Result<Options> ReadOptions(const Options* source, const char* name) {
  Options options;
  std::memset(&options, 0, sizeof options);
  if (source == nullptr) return options;
  uint32_t size_bytes = 0;
  std::memcpy(&size_bytes, source, sizeof size_bytes);
  if (size_bytes < sizeof size_bytes || size_bytes > 4096) {
    return Status::InvalidArgument(std::string(name) + ": size_bytes is " + std::to_string(size_bytes) +
                                   ", expected sizeof(" + name + ")");
  }
  // What a newer caller set and this library does not know must be the default, or it would be ignored silently.
  const auto* bytes = reinterpret_cast<const unsigned char*>(source);
  for (std::size_t index = sizeof options; index < size_bytes; ++index) {
    if (bytes[index] != 0) {
      return Status::Unsupported(std::string(name) + ": sets a field at offset " + std::to_string(index) +
                                 ", this library knows " + std::to_string(sizeof options) + " bytes");
    }
  }
  std::memcpy(&options, source, std::min<std::size_t>(size_bytes, sizeof options));
  return options;
}

}  // namespace foreshore::c
