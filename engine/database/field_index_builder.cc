#include "engine/database/field_index_builder.h"

#include "engine/database/core.h"
#include "engine/database/field_statistics.h"
#include "storage/base/coding.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::int64_t kBatchUs = 10'000;            // How long a batch may hold the write lock, commit not counted.
constexpr std::size_t kBatchDocumentCount = 10'000;  // The same where the clock stands still.
constexpr std::size_t kClockEvery = 64;              // Documents between two looks at the clock.
// Between batches others get the write lock.
constexpr std::chrono::milliseconds kPause(5);

Result<std::int64_t> ReadPlace(DatabaseCore& core, ReadView& view, std::uint32_t index_id) {
  FORESHORE_ASSIGN_OR_RETURN(const auto bytes, core.ReadSettingIn(view, FieldIndexBuilder::FillSetting(index_id)));
  return bytes && bytes->size() == sizeof(std::int64_t) ? LoadFixed<std::int64_t>(bytes->data())
                                                        : std::int64_t{INT64_MIN};
}

}  // namespace

void FieldIndexBuilder::Start() {
  const std::lock_guard lock(thread_mutex_);
  {
    const std::lock_guard wake_lock(wake_mutex_);
    woken_ = true;
    if (stopping_ || running_) return;
    running_ = true;
  }
  if (thread_.joinable()) thread_.join();
  thread_ = std::thread([this] { Run(); });
}

void FieldIndexBuilder::Stop() {
  const std::lock_guard lock(thread_mutex_);
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void FieldIndexBuilder::Run() {
  std::string last_error;
  while (!stopping_) {
    const Result<bool> worked = Step();
    if (worked.ok() && !*worked) {
      // An index that was dropped meanwhile needs none; any other failure shows in the next plan's request.
      for (const std::uint32_t id : core_.field_statistics().TakeRequests()) {
        core_.field_statistics().Refresh(id).IgnoreError();
      }
      const std::lock_guard lock(wake_mutex_);
      if (woken_) {
        woken_ = false;
        continue;
      }
      running_ = false;
      return;
    }
    if (!worked.ok() && worked.status().code() != ErrorCode::kCancelled && worked.status().ToString() != last_error) {
      last_error = worked.status().ToString();
      Log(LogLevel::kWarning, "index", last_error);
    }
    core_.WaitForChange(INT64_MAX, worked.ok() ? kPause : std::chrono::milliseconds(200));
  }
  const std::lock_guard lock(wake_mutex_);
  running_ = false;
}

std::optional<FieldIndexBuilder::Place> FieldIndexBuilder::FindUnready(const Catalog& catalog, std::uint32_t index_id) {
  for (const CollectionDefinition& collection : catalog.collections) {
    for (std::size_t i = 0; i < collection.field_indexes.size(); ++i) {
      const FieldIndexDefinition& index = collection.field_indexes[i];
      if (!index.is_ready && (index_id == 0 || index.id == index_id)) return Place{&collection, i};
    }
  }
  return std::nullopt;
}

Result<bool> FieldIndexBuilder::Step() {
  const auto catalog = core_.catalog();
  const auto place = FindUnready(*catalog, 0);
  if (!place) return false;
  FORESHORE_RETURN_IF_ERROR(StepIndex(place->collection->field_indexes[place->index_number].id, false).status());
  return true;
}

Result<bool> FieldIndexBuilder::StepIndex(std::uint32_t index_id, bool refuse_conflicts) {
  const std::lock_guard lock(step_mutex_);
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite(std::chrono::minutes(1)));
  view->ShowExpired();  // They have their entries when they are extended.
  const auto place = FindUnready(view->catalog(), index_id);
  if (!place) return false;
  FORESHORE_ASSIGN_OR_RETURN(std::int64_t next_docid, ReadPlace(core_, *view, index_id));
  FORESHORE_ASSIGN_OR_RETURN(const bool is_done, AddBatch(*view, *place, next_docid, refuse_conflicts));
  if (is_done) {
    FORESHORE_RETURN_IF_ERROR(MarkReady(*view, *place));
  } else {
    ByteString bytes;
    AppendFixed(bytes, next_docid);
    FORESHORE_RETURN_IF_ERROR(view->PutSetting(FillSetting(index_id), bytes));
  }
  FORESHORE_RETURN_IF_ERROR(view->Commit());
  return !is_done;
}

Result<bool> FieldIndexBuilder::AddBatch(WriteView& view, const Place& place, std::int64_t& next_docid,
                                         bool refuse_conflicts) {
  const std::int64_t begun_us = core_.clock().NowMonotonicUs();
  FORESHORE_ASSIGN_OR_RETURN(const auto documents, view.Scan(*place.collection, next_docid));
  for (std::size_t count = 1; count <= kBatchDocumentCount; ++count) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, documents->Next());
    if (!more) return true;
    next_docid = documents->docid() + 1;
    FORESHORE_RETURN_IF_ERROR(view.Fail(view.FieldIndexes().AddExisting(
        *place.collection, place.index_number, documents->docid(), documents->body(), refuse_conflicts)));
    if (count % kClockEvery == 0 && core_.clock().NowMonotonicUs() - begun_us > kBatchUs) break;
  }
  return false;
}

Status FieldIndexBuilder::MarkReady(WriteView& view, const Place& place) {
  FieldIndexDefinition index = place.collection->field_indexes[place.index_number];
  index.is_ready = true;
  FORESHORE_RETURN_IF_ERROR(view.DropSetting(FillSetting(index.id)));
  auto next = std::make_shared<Catalog>(view.catalog());
  ++next->version;
  for (CollectionDefinition& collection : next->collections) {
    if (collection.id == index.collection_id) collection.field_indexes[place.index_number] = index;
  }
  return core_.ChangeCatalog(view, std::move(next), "f" + std::to_string(index.id), EncodeFieldIndex(index));
}

Result<std::uint64_t> FieldIndexBuilder::PendingCount(ReadView& view) {
  std::uint64_t count = 0;
  for (const CollectionDefinition& collection : view.catalog().collections) {
    for (const FieldIndexDefinition& index : collection.field_indexes) {
      if (index.is_ready) continue;
      FORESHORE_ASSIGN_OR_RETURN(const std::int64_t next_docid, ReadPlace(core_, view, index.id));
      FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t left, view.GuessCount(collection, next_docid));
      count += left;
    }
  }
  return count;
}

}  // namespace foreshore
