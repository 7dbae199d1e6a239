// Stands in for rocksdb_store.cc in a build without FORESHORE_WITH_ROCKSDB.
#include "storage/store.h"

namespace foreshore {

Result<std::unique_ptr<Store>> OpenRocksdbStore(const std::string& path, const StoreOptions&) {
  return Status::Unsupported("store \"" + path + "\": this build has no RocksDB (FORESHORE_WITH_ROCKSDB is off)");
}

}  // namespace foreshore
