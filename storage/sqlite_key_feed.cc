#include "storage/sqlite_key_feed.h"

#include <new>

namespace foreshore {
namespace {

struct FeedTable : sqlite3_vtab {
  const SqliteKeyFeed* feed = nullptr;
};

int Connect(sqlite3* handle, void* feed, int /*argument_count*/, const char* const* /*arguments*/, sqlite3_vtab** table,
            char** /*error*/) {
  if (const int code = sqlite3_declare_vtab(handle, "CREATE TABLE x(k INTEGER)"); code != SQLITE_OK) return code;
  auto* connected = new (std::nothrow) FeedTable();
  if (connected == nullptr) return SQLITE_NOMEM;
  connected->feed = static_cast<const SqliteKeyFeed*>(feed);
  *table = connected;
  return SQLITE_OK;
}

int Disconnect(sqlite3_vtab* table) {
  delete static_cast<FeedTable*>(table);
  return SQLITE_OK;
}

int BestIndex(sqlite3_vtab* /*table*/, sqlite3_index_info* info) {
  info->estimatedCost = 1;
  info->estimatedRows = 1;
  return SQLITE_OK;
}

int Open(sqlite3_vtab* /*table*/, sqlite3_vtab_cursor** cursor) {
  *cursor = new (std::nothrow) sqlite3_vtab_cursor();
  return *cursor == nullptr ? SQLITE_NOMEM : SQLITE_OK;
}

int Close(sqlite3_vtab_cursor* cursor) {
  delete cursor;
  return SQLITE_OK;
}

int Filter(sqlite3_vtab_cursor* /*cursor*/, int /*plan*/, const char* /*text*/, int /*argument_count*/,
           sqlite3_value** /*arguments*/) {
  return SQLITE_OK;
}

int Next(sqlite3_vtab_cursor* /*cursor*/) {
  return SQLITE_OK;
}

int IsAtEnd(sqlite3_vtab_cursor* /*cursor*/) {
  return 0;
}

int Column(sqlite3_vtab_cursor* cursor, sqlite3_context* context, int /*column*/) {
  sqlite3_result_int64(context, static_cast<FeedTable*>(cursor->pVtab)->feed->key);
  return SQLITE_OK;
}

int Rowid(sqlite3_vtab_cursor* cursor, sqlite3_int64* rowid) {
  *rowid = static_cast<FeedTable*>(cursor->pVtab)->feed->key;
  return SQLITE_OK;
}

sqlite3_module MakeModule() {
  sqlite3_module module{};  // Without xCreate it is a table of its own name, and no other can be made.
  module.iVersion = 1;
  module.xConnect = &Connect;
  module.xBestIndex = &BestIndex;
  module.xDisconnect = &Disconnect;
  module.xOpen = &Open;
  module.xClose = &Close;
  module.xFilter = &Filter;
  module.xNext = &Next;
  module.xEof = &IsAtEnd;
  module.xColumn = &Column;
  module.xRowid = &Rowid;
  return module;
}

}  // namespace

int SqliteKeyFeed::Register(sqlite3* handle) {
  static const sqlite3_module module = MakeModule();
  return sqlite3_create_module_v2(handle, "foreshore_keys", &module, this, nullptr);
}

}  // namespace foreshore
