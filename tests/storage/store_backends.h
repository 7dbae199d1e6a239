// The backends that the store tests run on, each as a type for TEST_CASE_TEMPLATE, and short forms for tests.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "storage/fault_store.h"
#include "storage/store.h"
#include "tests/temporary_directory.h"

namespace foreshore {

struct SqliteBackend {
  static constexpr const char* kFile = "store.db";
  static Result<std::unique_ptr<Store>> Open(const std::string& path, const StoreOptions& options) {
    return OpenSqliteStore(path, options);
  }
};

struct RocksdbBackend {
  static constexpr const char* kFile = "store";
  static Result<std::unique_ptr<Store>> Open(const std::string& path, const StoreOptions& options) {
    return OpenRocksdbStore(path, options);
  }
};

// The wrapper with nothing planned to fail must keep the contract too.
struct FaultBackend {
  static constexpr const char* kFile = "store.db";
  static Result<std::unique_ptr<Store>> Open(const std::string& path, const StoreOptions& options) {
    FORESHORE_ASSIGN_OR_RETURN(auto inner, OpenSqliteStore(path, options));
    return std::unique_ptr<Store>(std::make_unique<FaultStore>(std::move(inner)));
  }
};

#ifdef FORESHORE_WITH_ROCKSDB
#define FORESHORE_STORE_BACKENDS SqliteBackend, RocksdbBackend
#else
#define FORESHORE_STORE_BACKENDS SqliteBackend
#endif

// Fails the test with the message; for calls that no test expects to fail.
inline void Ok(const Status& status) {
  INFO(status.ToString());
  REQUIRE(status.ok());
}

template <typename T>
T Take(Result<T> result) {
  Ok(result.status());
  return std::move(result).value();
}

// A store in a directory of its own.
template <typename Backend>
class TestStore {
 public:
  explicit TestStore(Durability durability = Durability::kNormal,
                     std::uint64_t cache_bytes = StoreOptions().cache_bytes) {
    options_.durability = durability;
    options_.cache_bytes = cache_bytes;
    options_.create = true;
    Reopen();
  }

  void Reopen() {
    store_.reset();
    store_ = Take(Backend::Open(path(), options_));
  }
  void Close() { store_.reset(); }
  std::string path() const { return directory_.path() + "/" + Backend::kFile; }
  const std::string& directory() const { return directory_.path(); }
  const StoreOptions& options() const { return options_; }

  Store& operator*() { return *store_; }
  Store* operator->() { return store_.get(); }

 private:
  TemporaryDirectory directory_;
  StoreOptions options_;
  std::unique_ptr<Store> store_;
};

// The value as a copy, or "(none)".
template <typename Key>
std::string ValueOf(ReadTxn& txn, KeyspaceId keyspace, Key key) {
  const std::optional<Bytes> value = Take(txn.Get(keyspace, key));
  return value.has_value() ? std::string(*value) : "(none)";
}

template <typename Key>
std::string ValueIn(Store& store, KeyspaceId keyspace, Key key) {
  const auto txn = Take(store.BeginRead());
  return ValueOf(*txn, keyspace, key);
}

template <typename Key>
void PutOne(Store& store, KeyspaceId keyspace, Key key, Bytes value) {
  const auto txn = Take(store.BeginWrite());
  Ok(txn->Put(keyspace, key, value));
  Ok(txn->Commit());
}

}  // namespace foreshore
