// Opening, documents and transactions.
#include "bindings/c/call.h"
#include "bindings/json/json_writer.h"
#include "bindings/json/reports.h"

using foreshore::Database;
using foreshore::Result;
using foreshore::Status;
using foreshore::c::Call;
using foreshore::c::CopyOut;
using foreshore::c::ReadOptions;
using foreshore::c::Required;

namespace {

// The stored numbers and codes are the interface's.
static_assert(static_cast<int>(foreshore::StorageKind::kSqlite) == FORESHORE_STORAGE_SQLITE);
static_assert(static_cast<int>(foreshore::StorageKind::kRocksdb) == FORESHORE_STORAGE_ROCKSDB);
static_assert(static_cast<int>(foreshore::Durability::kFull) == FORESHORE_DURABILITY_FULL);
static_assert(static_cast<int>(foreshore::Durability::kNormal) == FORESHORE_DURABILITY_NORMAL);
static_assert(static_cast<int>(foreshore::ErrorCode::kNotFound) == FORESHORE_NOT_FOUND);
static_assert(static_cast<int>(foreshore::ErrorCode::kBusy) == FORESHORE_BUSY);
static_assert(static_cast<int>(foreshore::ErrorCode::kInternal) == FORESHORE_INTERNAL);

Result<foreshore::DatabaseOptions> ToOptions(const foreshore_open_options& given) {
  foreshore::DatabaseOptions options;
  options.create = given.create != 0;
  if (given.storage != 0) {
    if (given.storage != FORESHORE_STORAGE_SQLITE && given.storage != FORESHORE_STORAGE_ROCKSDB) {
      return Status::InvalidArgument("storage is " + std::to_string(given.storage) + ", expected 1 or 2");
    }
    options.storage = static_cast<foreshore::StorageKind>(given.storage);
  }
  if (given.durability != 0) {
    if (given.durability != FORESHORE_DURABILITY_FULL && given.durability != FORESHORE_DURABILITY_NORMAL) {
      return Status::InvalidArgument("durability is " + std::to_string(given.durability) + ", expected 1 or 2");
    }
    options.durability = static_cast<foreshore::Durability>(given.durability);
  }
  if (given.cache_bytes != 0) options.cache_bytes = given.cache_bytes;
  if (given.inference_thread_count != 0) options.inference_thread_count = given.inference_thread_count;
  options.embed_in_background = given.embed_on_wait_only == 0;
  options.vector_memory_bytes = given.vector_memory_bytes;
  return options;
}

}  // namespace

int32_t foreshore_open(const char* path, const foreshore_open_options* options, foreshore_database** database,
                       foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(path, "path", database, "database"));
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(options, "foreshore_open_options"));
    FORESHORE_ASSIGN_OR_RETURN(const auto open_options, ToOptions(given));
    auto handle = std::make_unique<foreshore_database>();
    FORESHORE_ASSIGN_OR_RETURN(handle->database, Database::Open(path, open_options));
    *database = handle.release();
    return Status::Ok();
  });
}

int32_t foreshore_close(foreshore_database* database, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    if (database == nullptr) return Status::Ok();
    if (const int open_count = database->open_count.load(); open_count > 0) {
      return Status::Busy("database: " + std::to_string(open_count) +
                          " statements or transactions are open, expected none");
    }
    Status closed = database->database->Close();
    if (closed.code() == foreshore::ErrorCode::kConflict) return closed;
    const std::unique_ptr<foreshore_database> owned(database);
    return closed;
  });
}

int32_t foreshore_create_collection(foreshore_database* database, const char* collection, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection"));
    return database->database->CreateCollection(collection);
  });
}

int32_t foreshore_list_collections(foreshore_database* database, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto names, database->database->ListCollections());
    foreshore::JsonWriter writer;
    writer.BeginArray();
    for (const std::string& name : names) writer.Text(name);
    writer.EndArray();
    return CopyOut(writer.Take(), json);
  });
}

int32_t foreshore_put(foreshore_database* database, const char* collection, const char* id, const char* json,
                      size_t json_bytes, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", id, "id", json, "json"));
    return database->database->Put(collection, id, {json, json_bytes});
  });
}

int32_t foreshore_put_new(foreshore_database* database, const char* collection, const char* json, size_t json_bytes,
                          char** id, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", json, "json", id, "id"));
    FORESHORE_ASSIGN_OR_RETURN(const std::string new_id, database->database->PutNew(collection, {json, json_bytes}));
    return CopyOut(new_id, id);
  });
}

int32_t foreshore_get(foreshore_database* database, const char* collection, const char* id, char** json,
                      size_t* json_bytes, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", id, "id", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const std::string body, database->database->Get(collection, id));
    return CopyOut(body, json, json_bytes);
  });
}

int32_t foreshore_patch(foreshore_database* database, const char* collection, const char* id, const char* json,
                        size_t json_bytes, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", id, "id", json, "json"));
    return database->database->Patch(collection, id, {json, json_bytes});
  });
}

int32_t foreshore_delete(foreshore_database* database, const char* collection, const char* id, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", id, "id"));
    return database->database->Delete(collection, id);
  });
}

int32_t foreshore_read(foreshore_database* database, const char* collection, const char* id,
                       foreshore_document** document, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", id, "id", document, "document"));
    FORESHORE_ASSIGN_OR_RETURN(auto read, database->database->Read(collection, id));
    *document = new foreshore_document{std::move(read)};
    return Status::Ok();
  });
}

const char* foreshore_document_json(const foreshore_document* document, size_t* json_bytes) {
  if (document == nullptr) return nullptr;
  if (json_bytes != nullptr) *json_bytes = document->document.body().size();
  return document->document.body().c_str();
}

int32_t foreshore_put_over(foreshore_database* database, const char* collection, const foreshore_document* document,
                           const char* json, size_t json_bytes, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(
        Required(database, "database", collection, "collection", document, "document", json, "json"));
    const foreshore::Document& base = document->document;
    return database->database->Put(collection, base.id(), {json, json_bytes}, &base);
  });
}

void foreshore_document_free(foreshore_document* document) {
  delete document;
}

int32_t foreshore_begin(foreshore_database* database, int64_t timeout_ms, foreshore_transaction** transaction,
                        foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", transaction, "transaction"));
    const std::chrono::milliseconds timeout(timeout_ms < 0 ? 5000 : timeout_ms);
    auto handle = std::make_unique<foreshore_transaction>();
    handle->owner = database;
    FORESHORE_ASSIGN_OR_RETURN(handle->transaction, database->database->Begin(timeout));
    ++database->open_count;
    *transaction = handle.release();
    return Status::Ok();
  });
}

int32_t foreshore_transaction_put(foreshore_transaction* transaction, const char* collection, const char* id,
                                  const char* json, size_t json_bytes, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(transaction, "transaction", collection, "collection", id, "id", json, "json"));
    return transaction->transaction->Put(collection, id, {json, json_bytes});
  });
}

int32_t foreshore_transaction_put_new(foreshore_transaction* transaction, const char* collection, const char* json,
                                      size_t json_bytes, char** id, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(transaction, "transaction", collection, "collection", json, "json", id, "id"));
    FORESHORE_ASSIGN_OR_RETURN(const std::string new_id,
                               transaction->transaction->PutNew(collection, {json, json_bytes}));
    return CopyOut(new_id, id);
  });
}

int32_t foreshore_transaction_get(foreshore_transaction* transaction, const char* collection, const char* id,
                                  char** json, size_t* json_bytes, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(transaction, "transaction", collection, "collection", id, "id", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const std::string body, transaction->transaction->Get(collection, id));
    return CopyOut(body, json, json_bytes);
  });
}

int32_t foreshore_transaction_patch(foreshore_transaction* transaction, const char* collection, const char* id,
                                    const char* json, size_t json_bytes, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(transaction, "transaction", collection, "collection", id, "id", json, "json"));
    return transaction->transaction->Patch(collection, id, {json, json_bytes});
  });
}

int32_t foreshore_transaction_delete(foreshore_transaction* transaction, const char* collection, const char* id,
                                     foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(transaction, "transaction", collection, "collection", id, "id"));
    return transaction->transaction->Delete(collection, id);
  });
}

int32_t foreshore_transaction_savepoint(foreshore_transaction* transaction, const char* name, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(transaction, "transaction", name, "name"));
    return transaction->transaction->Savepoint(name);
  });
}

int32_t foreshore_transaction_rollback_to(foreshore_transaction* transaction, const char* name,
                                          foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(transaction, "transaction", name, "name"));
    return transaction->transaction->RollbackTo(name);
  });
}

int32_t foreshore_transaction_release(foreshore_transaction* transaction, const char* name, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(transaction, "transaction", name, "name"));
    return transaction->transaction->Release(name);
  });
}

int32_t foreshore_transaction_commit(foreshore_transaction* transaction, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(transaction, "transaction"));
    return transaction->transaction->Commit();
  });
}

void foreshore_transaction_free(foreshore_transaction* transaction) {
  if (transaction == nullptr) return;
  foreshore_database* owner = transaction->owner;
  delete transaction;
  --owner->open_count;
}

int32_t foreshore_stats(foreshore_database* database, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto stats, database->database->Stats());
    return CopyOut(foreshore::StatsJson(stats), json);
  });
}

int32_t foreshore_verify(foreshore_database* database, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto report, database->database->Verify());
    return CopyOut(foreshore::VerifyJson(report), json);
  });
}

int32_t foreshore_checkpoint(foreshore_database* database, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database"));
    return database->database->Checkpoint();
  });
}

int32_t foreshore_compact(foreshore_database* database, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database"));
    return database->database->Compact();
  });
}

int32_t foreshore_backup(foreshore_database* database, const char* destination, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", destination, "destination"));
    return database->database->Backup(destination);
  });
}
