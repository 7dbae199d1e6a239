// Model rows as documents of the collection "_models".
//
// Threads: safe from any thread.
#pragma once

#include "engine/model/model_registry.h"

namespace foreshore {

class DatabaseCore;

class CollectionModelRows : public ModelRows {
 public:
  explicit CollectionModelRows(DatabaseCore& core) : core_(core) {}
  Result<std::optional<std::string>> Get(const std::string& name) override;
  Result<std::vector<std::string>> List() override;
  Status Put(const std::string& name, std::string_view body) override;
  // kConflict where an index uses the model.
  Status Delete(const std::string& name) override;
  // A setting of this directory, which is not synced.
  Result<std::string> GetRegistered(const std::string& name) override;
  Status PutRegistered(const std::string& name, std::string_view version) override;

 private:
  DatabaseCore& core_;
};

}  // namespace foreshore
