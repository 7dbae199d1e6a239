// Fills secondary indexes with the documents that were there before them, a short transaction at a time, so that
// writers wait for milliseconds only.
//
// How far it came is durable (setting "index.fill.<id>": the next docid), and commits with the entries. Documents that
// are written meanwhile enter the index in their own transactions; meeting them again changes nothing.
//
// Threads: safe from any thread; one batch runs at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "engine/database/catalog.h"
#include "foreshore/status.h"

namespace foreshore {

class DatabaseCore;
class ReadView;
class WriteView;

class FieldIndexBuilder {
 public:
  explicit FieldIndexBuilder(DatabaseCore& core) : core_(core) {}
  ~FieldIndexBuilder() { Stop(); }

  // A thread that works while there is something to build. Does nothing where it runs already.
  void Start();
  void Stop();

  // One batch of one index that is not ready. False: all are.
  Result<bool> Step();
  // The same for one index; false: it is ready or gone. With `refuse_conflicts` a unique value that two documents have
  // is kAlreadyExists; else it is kept account of.
  Result<bool> StepIndex(std::uint32_t index_id, bool refuse_conflicts);
  // Documents that are still to be looked at, over all indexes.
  Result<std::uint64_t> PendingCount(ReadView& view);

  static std::string FillSetting(std::uint32_t index_id) { return "index.fill." + std::to_string(index_id); }

 private:
  struct Place {
    const CollectionDefinition* collection = nullptr;
    std::size_t index_number = 0;
  };
  static std::optional<Place> FindUnready(const Catalog& catalog, std::uint32_t index_id);
  // Adds documents from `next_docid` on and moves it behind them; true at the end of the collection.
  Result<bool> AddBatch(WriteView& view, const Place& place, std::int64_t& next_docid, bool refuse_conflicts);
  Status MarkReady(WriteView& view, const Place& place);
  void Run();

  DatabaseCore& core_;
  std::mutex step_mutex_;    // Held for one batch.
  std::mutex thread_mutex_;  // Guards thread_ against two starts.
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::mutex wake_mutex_;  // Taken after thread_mutex_.
  bool running_ = false;   // Guarded by wake_mutex_.
  bool woken_ = false;     // Guarded by wake_mutex_: Start was called since the thread last looked.
};

}  // namespace foreshore
