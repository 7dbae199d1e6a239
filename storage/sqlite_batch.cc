#include "storage/sqlite_batch.h"

#include <new>

namespace foreshore {
namespace {

constexpr std::size_t kContentBytesMax = 64 << 10;

Bytes BlobOf(sqlite3_value* value) {
  const void* data = sqlite3_value_blob(value);
  return data == nullptr ? Bytes() : AsBytes(data, static_cast<std::size_t>(sqlite3_value_bytes(value)));
}

}  // namespace

int SqliteBatch::Register(sqlite3* handle, SqliteBatch** target) {
  return sqlite3_create_function_v2(handle, "foreshore_gather", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY, target, &Gather,
                                    nullptr, nullptr, nullptr);
}

void SqliteBatch::Begin(std::size_t count_max) {
  count_max_ = count_max;
  entries_.clear();
  content_.clear();
}

void SqliteBatch::Gather(sqlite3_context* context, int /*argument_count*/, sqlite3_value** arguments) {
  SqliteBatch* batch = *static_cast<SqliteBatch**>(sqlite3_user_data(context));
  if (batch == nullptr) return sqlite3_result_error(context, "foreshore_gather() is the store's own", -1);
  try {
    sqlite3_result_int(context, batch->Add(arguments[0], arguments[1]) ? 1 : 0);
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(context);
  }
}

bool SqliteBatch::Add(sqlite3_value* key, sqlite3_value* value) {
  Entry entry;
  entry.begin = content_.size();
  if (sqlite3_value_type(key) == SQLITE_INTEGER) {
    entry.integer_key = sqlite3_value_int64(key);
  } else {
    const Bytes bytes = BlobOf(key);
    entry.key_bytes = bytes.size();
    content_.append(bytes);
  }
  const Bytes bytes = BlobOf(value);
  entry.value_bytes = bytes.size();
  content_.append(bytes);
  entries_.push_back(entry);
  return entries_.size() >= count_max_ || content_.size() >= kContentBytesMax;
}

}  // namespace foreshore
