// A load for crash tests: transaction number n, over several keyspaces and the change log, is a function of a seed and
// n, so that after a crash the state of any prefix can be computed again and compared with what is in the store.
#pragma once

#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "storage/change_log.h"
#include "storage/store.h"

namespace foreshore {

inline std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

// The state after some number of transactions.
struct LoadModel {
  std::map<std::int64_t, std::string> bodies;
  std::map<std::string, std::string> entries;
  std::int64_t count = 0;        // Transactions so far; stored as entry "count".
  std::int64_t log_entries = 0;  // Changes so far.
};

struct LoadKeyspaces {
  KeyspaceId bodies;
  KeyspaceId entries;
  std::unique_ptr<ChangeLog> log;
};

// Transaction number n of a load is a function of (seed, n), so that any prefix can be computed again.
class StoreLoad {
 public:
  explicit StoreLoad(std::uint64_t seed) : seed_(seed) {}

  // Does transaction number model.count + 1 to the model, and to the store where there is one.
  Status Step(LoadModel& model, WriteTxn* txn, const LoadKeyspaces* keyspaces) const {
    std::mt19937_64 random(seed_ * 1000003 + static_cast<std::uint64_t>(model.count) + 1);
    const auto below = [&](std::uint64_t bound) { return random() % bound; };
    ++model.count;
    const std::string number = std::to_string(model.count);
    const std::uint64_t writes = 1 + below(4);
    for (std::uint64_t write = 0; write < writes; ++write) {
      const std::int64_t key = static_cast<std::int64_t>(below(30));
      // Some values span many pages, a few more than the page cache holds, so that it spills before the commit.
      const std::uint64_t size = below(60) == 0 ? 400000 : below(12) == 0 ? 30000 : below(600);
      const std::string value = number + std::string(size, static_cast<char>('a' + below(26)));
      model.bodies[key] = value;
      if (txn != nullptr) FORESHORE_RETURN_IF_ERROR(txn->Put(keyspaces->bodies, key, value));
    }
    if (below(3) == 0) {
      const std::int64_t key = static_cast<std::int64_t>(below(30));
      model.bodies.erase(key);
      if (txn != nullptr) FORESHORE_RETURN_IF_ERROR(txn->Delete(keyspaces->bodies, key));
    }
    for (const std::string& key : {std::string("count"), "k" + std::to_string(below(200))}) {
      model.entries[key] = number;
      if (txn != nullptr) FORESHORE_RETURN_IF_ERROR(txn->Put(keyspaces->entries, Bytes(key), Bytes(number)));
    }
    model.log_entries += static_cast<std::int64_t>(writes);
    if (txn == nullptr) return Status::Ok();
    return keyspaces->log->Append(*txn, std::vector<Change>(writes)).status();
  }

  LoadModel After(std::int64_t count) const {
    LoadModel model;
    while (model.count < count) Step(model, nullptr, nullptr).IgnoreError();
    return model;
  }

 private:
  const std::uint64_t seed_;
};

inline Result<LoadKeyspaces> OpenKeyspaces(Store& store) {
  LoadKeyspaces keyspaces{};
  FORESHORE_ASSIGN_OR_RETURN(keyspaces.bodies, store.OpenKeyspace("bodies", KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(keyspaces.entries, store.OpenKeyspace("entries", KeyspaceKind::kBytes));
  FORESHORE_ASSIGN_OR_RETURN(keyspaces.log, ChangeLog::Open(store));
  return keyspaces;
}

inline Result<LoadModel> ReadAll(Store& store, const LoadKeyspaces& keyspaces) {
  LoadModel model;
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store.BeginRead());
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn->NewCursor(keyspaces.bodies));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekFirst());
    while (cursor->valid()) {
      model.bodies.emplace(cursor->integer_key(), cursor->value());
      FORESHORE_RETURN_IF_ERROR(cursor->Next());
    }
  }
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn->NewCursor(keyspaces.entries));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekFirst());
    while (cursor->valid()) {
      model.entries.emplace(cursor->bytes_key(), cursor->value());
      FORESHORE_RETURN_IF_ERROR(cursor->Next());
    }
  }
  const auto count = model.entries.find("count");
  if (count != model.entries.end()) model.count = std::strtoll(count->second.c_str(), nullptr, 10);
  bool last_ends = true;
  const auto visit = [&](const Change& change) {
    ++model.log_entries;
    last_ends = change.ends_transaction;
    return true;
  };
  FORESHORE_RETURN_IF_ERROR(keyspaces.log->ReadAfter(*txn, 0, visit));
  if (!last_ends) return Status::Corruption("the log ends inside a transaction");
  return model;
}

// What is in the store must be the state after one of the commits number `least`..`most`, which is returned.
inline Result<LoadModel> TakePrefix(Store& store, const StoreLoad& load, std::int64_t least, std::int64_t most) {
  FORESHORE_RETURN_IF_ERROR(store.Verify().WithContext("verify"));
  FORESHORE_ASSIGN_OR_RETURN(const LoadKeyspaces keyspaces, OpenKeyspaces(store));
  FORESHORE_ASSIGN_OR_RETURN(const LoadModel found, ReadAll(store, keyspaces));
  if (found.count < least || found.count > most) {
    return Status::Corruption("found " + std::to_string(found.count) + " commits, expected " + std::to_string(least) +
                              ".." + std::to_string(most));
  }
  LoadModel expected = load.After(found.count);
  const std::string commit = " differ from commit " + std::to_string(found.count);
  if (found.bodies != expected.bodies) return Status::Corruption("bodies" + commit);
  if (found.entries != expected.entries) return Status::Corruption("entries" + commit);
  if (found.log_entries != expected.log_entries) return Status::Corruption("log entries" + commit);
  return expected;
}

}  // namespace foreshore
