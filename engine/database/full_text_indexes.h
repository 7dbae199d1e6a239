// The full-text indexes of a database: one file (index/fts.db) that follows the change log.
//
// Apply reads the log after what the file has reached, and the documents that it names, from one snapshot of the store,
// and writes their text together with that snapshot's sequence. An index for documents that are there already is filled
// in the same way, some hundred at a time, each step at one snapshot. So every state of the file is that of one
// sequence, and a search pins it before it takes its snapshot of the store, which is then at most newer.
//
// A file that is damaged, of another history of the store, or further behind than the log goes back is dropped and
// filled again, once no search has it open.
//
// Threads: safe from any thread. The mutex of the writing side comes after the database's write lock.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/database/catalog.h"
#include "engine/database/derived_consumer.h"
#include "engine/document/document_text.h"
#include "index/full_text_file.h"
#include "storage/base/clock.h"
#include "storage/change_log.h"
#include "storage/store.h"

namespace foreshore {

class TextOverlay;

// Lets in one who writes the file. Not a mutex: a transaction that is in it may end on another thread.
class TextFileGate {
 public:
  void lock() {
    std::unique_lock lock(mutex_);
    left_.wait(lock, [this] { return !is_occupied_; });
    is_occupied_ = true;
  }
  bool try_lock() { return try_lock_for(std::chrono::microseconds(0)); }
  bool try_lock_for(std::chrono::microseconds timeout) {
    std::unique_lock lock(mutex_);
    if (!left_.wait_for(lock, timeout, [this] { return !is_occupied_; })) return false;
    is_occupied_ = true;
    return true;
  }
  void unlock() {
    {
      const std::lock_guard lock(mutex_);
      is_occupied_ = false;
    }
    left_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  bool is_occupied_ = false;  // Guarded by mutex_.
};

class FullTextIndexes : public DerivedConsumer {
 public:
  static constexpr std::string_view kCursorName = "index.text";

  FullTextIndexes(Store& store, ChangeLog& log, Clock& clock, std::string path, std::string lineage,
                  FullTextFileOptions options);
  ~FullTextIndexes() override;

  // At the database's opening. Never fails it: what is wrong with the file is logged, and the file made again.
  void Open(const Catalog& catalog);
  // Before the transaction that makes the index commits, and after the one that drops it did.
  void Add(const CollectionDefinition& collection, const TextIndexDefinition& definition);
  void Drop(std::uint32_t id);
  bool empty() const { return index_count_.load() == 0; }

  std::string cursor_name() const override { return std::string(kCursorName); }
  Status Apply() override;
  Result<std::int64_t> Save() override;
  std::int64_t saved_sequence() const override { return saved_sequence_.load(); }

  // Fills for about `budget`. False: nothing is left to fill.
  Result<bool> Fill(std::chrono::milliseconds budget);
  // Fills until the index is complete. kBusy after `timeout`, with how far it has come.
  Status WaitFilled(std::uint32_t id, std::chrono::milliseconds timeout,
                    const std::function<void(std::uint64_t pending)>& progress = {});
  struct Progress {
    bool is_filled = false;
    std::uint64_t row_count = 0;
    std::uint64_t pending_count = 0;  // About: holes in the row of docids count too.
  };
  Progress ProgressOf(std::uint32_t id);
  std::uint64_t RowCount(std::uint32_t id) const;
  std::uint64_t SizeBytes();

  // A state of the file for searches. Pinned before the store's snapshot, it covers that one if Covers says so.
  Result<std::unique_ptr<TextSnapshot>> Pin();
  // What a search met: a damaged file is made again.
  void NoteDamage(const Status& status);
  // Whether the file's state of `file_sequence` is also that of `sequence`.
  bool Covers(std::int64_t file_sequence, std::int64_t sequence) const;

  // Everything that was committed is in it.
  Result<std::unique_ptr<TextOverlay>> BeginOverlay();

  // Compares the file with the documents of one snapshot and has a file that is wrong made again.
  Status Verify(const std::function<void(std::string)>& problem);

 private:
  friend class TextOverlay;
  struct Index {
    TextTable table;
    TextExtractor extractor;
    std::string name;  // For messages: the collection's.
    std::uint32_t collection_id = 0;
    KeyspaceId documents = 0;
    TextTableState state;
    bool has_table = false;
  };
  // The sequences whose documents a state of the file holds.
  struct Span {
    std::int64_t first = 0;
    std::int64_t last = 0;
  };
  // The changes after what the file covers, up to `head`.
  struct Pending {
    std::int64_t head = 0;
    std::set<std::pair<std::uint32_t, std::int64_t>> documents;  // (index id, docid).
    std::int64_t first = 0;                                      // Sequence of the first one; 0: none.
    std::int64_t last = 0;
  };
  using States = std::map<std::uint32_t, TextTableState>;

  Status EnsureFile();  // This and what follows needs mutex_.
  Status OpenFile();
  Status ApplyHere();
  Status ReadPending(ReadTxn& txn, Pending& pending);
  Status ApplyPending(ReadTxn& txn, const Pending& pending, States& states);
  // One step of the filling of `wanted`, or of any index where that is 0.
  Status FillStep(std::uint32_t wanted, bool& more);
  Status FillFrom(ReadTxn& txn, const Index& index, TextTableState& state);
  Status SetDocument(const Index& index, std::int64_t docid, std::optional<Bytes> record, TextTableState& state);
  // One transaction of the file, which ends at the pending changes' head.
  Status InTransaction(const Pending& pending, States& states, const std::function<Status()>& body);
  void DropFile(const Status& why);
  Status NoteFailure(Status status);
  void RemoveGivenUp();

  Status Compare(const Index& index, TextSnapshot& snapshot, ReadTxn& txn,
                 const std::function<void(std::string)>& problem);

  Store& store_;
  ChangeLog& log_;
  Clock& clock_;
  const std::string path_;
  const std::string lineage_;
  const FullTextFileOptions options_;

  TextFileGate mutex_;                    // Held by whoever writes the file.
  bool must_remove_ = false;              // Guarded by mutex_: the file at path_ is not to be used again.
  std::weak_ptr<FullTextFile> given_up_;  // Guarded by mutex_: a dropped file that searches may still have open.
  std::string last_failure_;              // Guarded by mutex_: what was logged last.
  std::int64_t covered_ = 0;              // Guarded by mutex_: the log was read up to here.
  std::int64_t written_sequence_ = 0;     // Guarded by mutex_: what the file says.

  mutable std::mutex state_mutex_;          // Innermost; guards what follows.
  std::shared_ptr<FullTextFile> file_;      // Shared with snapshots; replaced only under both mutexes.
  std::map<std::uint32_t, Index> indexes_;  // Changed only under both mutexes.
  std::map<std::int64_t, Span> spans_;      // By the file's sequence; the latest states.
  std::atomic<std::size_t> index_count_{0};
  std::atomic<std::int64_t> saved_sequence_{0};
};

// The file as a transaction would make it: its own documents go in uncommitted and come out at the end.
// Holds the writing side until it goes. Threads: one at a time.
class TextOverlay {
 public:
  ~TextOverlay();
  // `body` empty: the document is gone.
  Status Set(std::uint32_t id, std::int64_t docid, std::string_view body);
  TextSnapshot& snapshot() { return *snapshot_; }

 private:
  friend class FullTextIndexes;
  explicit TextOverlay(FullTextIndexes& indexes) : indexes_(indexes), lock_(indexes.mutex_) {}
  FullTextIndexes& indexes_;
  std::unique_lock<TextFileGate> lock_;
  std::unique_ptr<TextSnapshot> snapshot_;
};

}  // namespace foreshore
