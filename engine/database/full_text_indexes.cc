#include "engine/database/full_text_indexes.h"

#include <algorithm>

#include "engine/document/record.h"
#include "storage/base/file.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

// Of one step of a filling: commits wait for it.
constexpr std::size_t kFillDocumentCount = 256;
constexpr std::size_t kFillBytes = 512 << 10;
constexpr std::size_t kSpanCountMax = 64;

// The file alone may be found damaged here: what the store says must not have it dropped.
Status FromStore(const Status& status) {
  return status.code() == ErrorCode::kCorruption ? Status::Io(status.message()) : status;
}

bool IsUnusable(const Status& status) {
  return status.code() == ErrorCode::kCorruption || status.code() == ErrorCode::kConflict ||
         status.code() == ErrorCode::kUnsupported;
}

}  // namespace

FullTextIndexes::FullTextIndexes(Store& store, ChangeLog& log, Clock& clock, std::string path, std::string lineage,
                                 FullTextFileOptions options)
    : store_(store),
      log_(log),
      clock_(clock),
      path_(std::move(path)),
      lineage_(std::move(lineage)),
      options_(std::move(options)) {}

FullTextIndexes::~FullTextIndexes() = default;

void FullTextIndexes::Open(const Catalog& catalog) {
  for (const CollectionDefinition& collection : catalog.collections) {
    if (!collection.text_index) continue;
    const TextIndexDefinition& definition = *collection.text_index;
    const std::lock_guard lock(state_mutex_);
    indexes_.emplace(definition.id, Index{{definition.id, definition.options},
                                          TextExtractor(definition.paths),
                                          collection.name,
                                          collection.id,
                                          collection.documents,
                                          {},
                                          false});
    ++index_count_;
  }
  const std::lock_guard lock(mutex_);
  if (indexes_.empty()) {
    FullTextFile::Remove(path_).IgnoreError();
    return;
  }
  ApplyHere().IgnoreError();  // Logged; the next commit or search tries again.
}

void FullTextIndexes::Add(const CollectionDefinition& collection, const TextIndexDefinition& definition) {
  const std::lock_guard lock(mutex_);
  // Until here nobody read the log, so the file's place in it may be far behind.
  if (!indexes_.empty()) ApplyHere().IgnoreError();
  const std::lock_guard state_lock(state_mutex_);
  indexes_.emplace(definition.id, Index{{definition.id, definition.options},
                                        TextExtractor(definition.paths),
                                        collection.name,
                                        collection.id,
                                        collection.documents,
                                        {},
                                        false});
  ++index_count_;
}

void FullTextIndexes::Drop(std::uint32_t id) {
  const std::lock_guard lock(mutex_);
  const auto found = indexes_.find(id);
  if (found == indexes_.end()) return;
  const bool has_table = found->second.has_table;
  {
    const std::lock_guard state_lock(state_mutex_);
    indexes_.erase(found);
    --index_count_;
  }
  if (indexes_.empty()) {
    if (file_) DropFile(Status::Ok());
    RemoveGivenUp();
  } else if (file_ && has_table) {
    States none;
    Pending pending;
    pending.head = written_sequence_;
    InTransaction(pending, none, [&] { return file_->DropTable(id); }).IgnoreError();
  }
}

void FullTextIndexes::RemoveGivenUp() {
  if (!must_remove_ || !given_up_.expired()) return;
  if (FullTextFile::Remove(path_).ok()) must_remove_ = false;
}

Status FullTextIndexes::EnsureFile() {
  if (file_) return Status::Ok();
  RemoveGivenUp();
  if (must_remove_) {
    return Status::Busy("full-text file \"" + path_ + "\": it is made again once no search has it open");
  }
  Status opened = OpenFile();
  if (IsUnusable(opened)) {
    Log(LogLevel::kWarning, "text", opened.message() + "; rebuilding");
    FORESHORE_RETURN_IF_ERROR(FullTextFile::Remove(path_));
    opened = OpenFile();
  }
  return NoteFailure(opened);
}

Status FullTextIndexes::OpenFile() {
  FORESHORE_ASSIGN_OR_RETURN(const auto file, FullTextFile::Open(path_, lineage_, options_));
  const auto txn = store_.BeginRead();
  if (!txn.ok()) return FromStore(txn.status());
  const auto head = log_.Head(**txn);
  if (!head.ok()) return FromStore(head.status());
  const auto tail = log_.Tail(**txn);
  if (!tail.ok()) return FromStore(tail.status());
  FORESHORE_ASSIGN_OR_RETURN(const auto table_ids, file->ListTables());
  FORESHORE_ASSIGN_OR_RETURN(std::int64_t sequence, file->ReadSequence());
  if (!table_ids.empty() && (sequence > *head || sequence + 1 < *tail)) {
    return Status::Conflict("full-text file \"" + path_ + "\": is at sequence " + std::to_string(sequence) +
                            ", the log holds " + std::to_string(*tail) + " to " + std::to_string(*head));
  }
  FORESHORE_RETURN_IF_ERROR(file->Begin());
  std::map<std::uint32_t, TextTableState> found;
  const Status prepared = [&]() -> Status {
    const auto snapshot = file->WriterSnapshot(sequence);
    for (const std::uint32_t id : table_ids) {
      if (const auto index = indexes_.find(id); index != indexes_.end()) {
        FORESHORE_ASSIGN_OR_RETURN(const auto state, snapshot->State(index->second.table));
        if (state) {
          found[id] = *state;
          continue;
        }
      }
      FORESHORE_RETURN_IF_ERROR(file->DropTable(id));
    }
    if (found.empty()) sequence = *head;
    return file->WriteSequence(sequence);
  }();
  if (!prepared.ok()) {
    file->Rollback();
    return prepared;
  }
  FORESHORE_RETURN_IF_ERROR(file->Commit());
  const std::lock_guard state_lock(state_mutex_);
  for (auto& [id, index] : indexes_) {
    const auto state = found.find(id);
    index.has_table = state != found.end();
    index.state = index.has_table ? state->second : TextTableState();
  }
  written_sequence_ = sequence;
  covered_ = sequence;
  spans_ = {{sequence, {sequence, sequence}}};
  file_ = file;
  return Status::Ok();
}

void FullTextIndexes::DropFile(const Status& why) {
  if (!why.ok()) Log(LogLevel::kError, "text", why.message() + "; the full-text file will be made again");
  const std::lock_guard state_lock(state_mutex_);
  given_up_ = file_;
  file_.reset();
  must_remove_ = true;
  spans_.clear();
  for (auto& [id, index] : indexes_) {
    index.has_table = false;
    index.state = TextTableState();
  }
}

Status FullTextIndexes::NoteFailure(Status status) {
  if (status.ok()) {
    last_failure_.clear();
    return status;
  }
  if (status.code() == ErrorCode::kCorruption && file_) {
    DropFile(status);
  } else if (status.message() != last_failure_) {
    Log(LogLevel::kError, "text", "full text is behind: " + status.ToString());
  }
  last_failure_ = status.message();
  return status;
}

Status FullTextIndexes::Apply() {
  if (empty()) return Status::Ok();
  const std::lock_guard lock(mutex_);
  return ApplyHere();
}

Status FullTextIndexes::ApplyHere() {
  FORESHORE_RETURN_IF_ERROR(EnsureFile());
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_.BeginRead());
  Pending pending;
  FORESHORE_RETURN_IF_ERROR(ReadPending(*txn, pending));
  if (pending.head == covered_) return Status::Ok();
  if (pending.documents.empty()) {
    // The file stays as it is: a commit that is no concern of it costs no write.
    const std::lock_guard state_lock(state_mutex_);
    covered_ = pending.head;
    spans_[written_sequence_].last = pending.head;
    return Status::Ok();
  }
  States states;
  return InTransaction(pending, states, [&] { return ApplyPending(*txn, pending, states); });
}

Status FullTextIndexes::ReadPending(ReadTxn& txn, Pending& pending) {
  FORESHORE_ASSIGN_OR_RETURN(pending.head, log_.Head(txn));
  if (pending.head == covered_) return Status::Ok();
  const Status read = log_.ReadAfter(txn, covered_, [&](const Change& change) {
    if (change.kind != ChangeKind::kDocument) return true;
    for (const auto& [id, index] : indexes_) {
      // What a filling has not reached yet it will meet as it is then.
      if (index.collection_id != change.collection_id || !index.has_table) continue;
      if (!index.state.is_filled && change.docid >= index.state.filled_to) continue;
      pending.documents.emplace(id, change.docid);
      if (pending.first == 0) pending.first = change.sequence;
      pending.last = change.sequence;
    }
    return true;
  });
  if (read.code() == ErrorCode::kConflict) DropFile(read);
  return read;
}

Status FullTextIndexes::ApplyPending(ReadTxn& txn, const Pending& pending, States& states) {
  for (const auto& [id, docid] : pending.documents) {
    const Index& index = indexes_.at(id);
    const auto record = txn.Get(index.documents, docid);
    if (!record.ok()) return FromStore(record.status());
    const auto state = states.try_emplace(id, index.state).first;
    FORESHORE_RETURN_IF_ERROR(SetDocument(index, docid, *record, state->second));
  }
  return Status::Ok();
}

Status FullTextIndexes::SetDocument(const Index& index, std::int64_t docid, std::optional<Bytes> record,
                                    TextTableState& state) {
  std::vector<std::string> columns(index.table.options.fields.size());
  if (record) {
    const auto view = ViewRecord(*record);
    // A damaged record is for verify to name; it must not stop all others from being found.
    if (view.ok() && view->alive) columns = index.extractor.Extract(view->body);
  }
  FORESHORE_ASSIGN_OR_RETURN(const int change, file_->Upsert(index.table, docid, columns));
  state.row_count += static_cast<std::uint64_t>(static_cast<std::int64_t>(change));
  return Status::Ok();
}

Status FullTextIndexes::InTransaction(const Pending& pending, States& states, const std::function<Status()>& body) {
  const Status done = [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(file_->Begin());
    FORESHORE_RETURN_IF_ERROR(body());
    for (const auto& [id, state] : states) FORESHORE_RETURN_IF_ERROR(file_->WriteTableState(id, state));
    FORESHORE_RETURN_IF_ERROR(file_->WriteSequence(pending.head));
    return file_->Commit();
  }();
  if (!done.ok()) {
    file_->Rollback();
    return NoteFailure(done);
  }
  const std::lock_guard state_lock(state_mutex_);
  for (const auto& [id, state] : states) {
    Index& index = indexes_.at(id);
    index.state = state;
    index.has_table = true;
  }
  Span& before = spans_[written_sequence_];
  before.last = std::max(before.last, pending.first == 0 ? pending.head : pending.first - 1);
  if (pending.head != written_sequence_) {
    spans_[pending.head] = {pending.first == 0 ? before.first : pending.last, pending.head};
    while (spans_.size() > kSpanCountMax) spans_.erase(spans_.begin());
  }
  written_sequence_ = pending.head;
  covered_ = pending.head;
  last_failure_.clear();
  return Status::Ok();
}

Status FullTextIndexes::FillStep(std::uint32_t wanted, bool& more) {
  const auto is_open = [](const auto& entry) { return !entry.second.state.is_filled; };
  more = false;
  FORESHORE_RETURN_IF_ERROR(EnsureFile());
  auto next = wanted != 0 ? indexes_.find(wanted) : std::find_if(indexes_.begin(), indexes_.end(), is_open);
  if (next == indexes_.end() || !is_open(*next)) return Status::Ok();
  const Index& index = next->second;
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_.BeginRead());
  Pending pending;
  FORESHORE_RETURN_IF_ERROR(ReadPending(*txn, pending));
  States states{{index.table.id, index.state}};
  const Status stepped = InTransaction(pending, states, [&]() -> Status {
    if (!index.has_table) FORESHORE_RETURN_IF_ERROR(file_->CreateTable(index.table));
    FORESHORE_RETURN_IF_ERROR(ApplyPending(*txn, pending, states));
    return FillFrom(*txn, index, states[index.table.id]);
  });
  if (!stepped.ok()) return stepped;
  more = wanted != 0 ? is_open(*next) : std::any_of(indexes_.begin(), indexes_.end(), is_open);
  return Status::Ok();
}

Status FullTextIndexes::FillFrom(ReadTxn& txn, const Index& index, TextTableState& state) {
  const auto cursor = txn.NewCursor(index.documents);
  if (!cursor.ok()) return FromStore(cursor.status());
  std::size_t bytes = 0;
  Status moved = (*cursor)->Seek(state.filled_to);
  for (std::size_t count = 0; count < kFillDocumentCount && bytes < kFillBytes; ++count) {
    if (!moved.ok()) return FromStore(moved);
    if (!(*cursor)->valid()) {
      state.is_filled = true;
      return Status::Ok();
    }
    bytes += (*cursor)->value().size();
    const std::int64_t docid = (*cursor)->integer_key();
    FORESHORE_RETURN_IF_ERROR(SetDocument(index, docid, (*cursor)->value(), state));
    state.filled_to = docid + 1;
    moved = (*cursor)->Next();
  }
  return FromStore(moved);
}

Result<bool> FullTextIndexes::Fill(std::chrono::milliseconds budget) {
  if (empty()) return false;
  const std::int64_t deadline_us = clock_.NowMonotonicUs() + budget.count() * 1000;
  bool more = true;
  do {
    const std::lock_guard lock(mutex_);
    FORESHORE_RETURN_IF_ERROR(FillStep(0, more));
  } while (more && clock_.NowMonotonicUs() < deadline_us);
  return more;
}

Status FullTextIndexes::WaitFilled(std::uint32_t id, std::chrono::milliseconds timeout,
                                   const std::function<void(std::uint64_t)>& progress) {
  const std::int64_t deadline_us = clock_.NowMonotonicUs() + timeout.count() * 1000;
  std::int64_t reported_us = 0;
  while (true) {
    std::string name;
    {
      const std::lock_guard state_lock(state_mutex_);
      const auto found = indexes_.find(id);
      if (found == indexes_.end()) return Status::NotFound("full-text index: it was dropped");
      if (found->second.state.is_filled) return Status::Ok();
      name = found->second.name;
    }
    const std::int64_t now_us = clock_.NowMonotonicUs();
    if (progress && now_us - reported_us > 200'000) {
      progress(ProgressOf(id).pending_count);
      reported_us = now_us;
    }
    bool more = false;
    const bool is_late = now_us > deadline_us;
    std::unique_lock lock(mutex_, std::defer_lock);
    if (is_late || !lock.try_lock_for(std::chrono::microseconds(deadline_us - now_us))) {
      const Progress at = ProgressOf(id);
      return Status::Busy("full-text index of \"" + name + "\" is being filled: " + std::to_string(at.row_count) +
                          " documents are in, about " + std::to_string(at.pending_count) + " are to come");
    }
    if (const Status step = FillStep(id, more); !step.ok()) {
      return step.WithContext("full-text index of \"" + name + "\" is being filled");
    }
  }
}

FullTextIndexes::Progress FullTextIndexes::ProgressOf(std::uint32_t id) {
  Progress progress;
  KeyspaceId documents = 0;
  std::int64_t filled_to = 0;
  {
    const std::lock_guard state_lock(state_mutex_);
    const auto found = indexes_.find(id);
    if (found == indexes_.end()) return progress;
    progress.is_filled = found->second.state.is_filled;
    progress.row_count = found->second.state.row_count;
    documents = found->second.documents;
    filled_to = found->second.state.filled_to;
  }
  if (progress.is_filled) return progress;
  const auto count = [&]() -> Result<std::int64_t> {
    FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_.BeginRead());
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn->NewCursor(documents));
    FORESHORE_RETURN_IF_ERROR(cursor->Seek(filled_to));
    if (!cursor->valid()) return std::int64_t{0};
    const std::int64_t first = cursor->integer_key();
    FORESHORE_RETURN_IF_ERROR(cursor->SeekLast());
    return cursor->valid() ? cursor->integer_key() - first + 1 : std::int64_t{0};
  }();
  progress.pending_count = count.ok() ? static_cast<std::uint64_t>(*count) : 0;
  return progress;
}

std::uint64_t FullTextIndexes::RowCount(std::uint32_t id) const {
  const std::lock_guard state_lock(state_mutex_);
  const auto found = indexes_.find(id);
  return found == indexes_.end() ? 0 : found->second.state.row_count;
}

std::uint64_t FullTextIndexes::SizeBytes() {
  const std::lock_guard state_lock(state_mutex_);
  return file_ ? file_->SizeBytes() : 0;
}

Result<std::int64_t> FullTextIndexes::Save() {
  if (empty()) return saved_sequence_.load();
  const std::lock_guard lock(mutex_);
  const Status saved = [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(ApplyHere());
    if (covered_ > written_sequence_) {
      States none;
      Pending pending;
      pending.head = covered_;
      FORESHORE_RETURN_IF_ERROR(InTransaction(pending, none, [] { return Status::Ok(); }));
    }
    FORESHORE_ASSIGN_OR_RETURN(const bool is_whole, file_->Checkpoint());
    if (is_whole) saved_sequence_.store(written_sequence_);
    return Status::Ok();
  }();
  // What is derived does not keep a database from closing or checkpointing; the log is kept for it instead.
  if (!saved.ok()) NoteFailure(saved).IgnoreError();
  return saved_sequence_.load();
}

Result<std::unique_ptr<TextSnapshot>> FullTextIndexes::Pin() {
  std::shared_ptr<FullTextFile> file;
  {
    const std::lock_guard state_lock(state_mutex_);
    file = file_;
  }
  if (!file) {
    const std::lock_guard lock(mutex_);
    FORESHORE_RETURN_IF_ERROR(ApplyHere());
    file = file_;
  }
  auto pinned = file->Pin();
  if (!pinned.ok() && pinned.status().code() == ErrorCode::kCorruption) {
    const std::lock_guard lock(mutex_);
    if (file_ == file) DropFile(pinned.status());
  }
  return pinned;
}

void FullTextIndexes::NoteDamage(const Status& status) {
  if (status.code() != ErrorCode::kCorruption) return;
  // A transaction that has documents of its own in the file has it locked, and may be who calls.
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock.owns_lock() && file_) DropFile(status);
}

bool FullTextIndexes::Covers(std::int64_t file_sequence, std::int64_t sequence) const {
  const std::lock_guard state_lock(state_mutex_);
  const auto found = spans_.find(file_sequence);
  return found != spans_.end() && found->second.first <= sequence && sequence <= found->second.last;
}

Result<std::unique_ptr<TextOverlay>> FullTextIndexes::BeginOverlay() {
  std::unique_ptr<TextOverlay> overlay(new TextOverlay(*this));
  FORESHORE_RETURN_IF_ERROR(ApplyHere());
  FORESHORE_RETURN_IF_ERROR(NoteFailure(file_->Begin()));
  overlay->snapshot_ = file_->WriterSnapshot(covered_);
  return overlay;
}

TextOverlay::~TextOverlay() {
  snapshot_.reset();
  if (indexes_.file_) indexes_.file_->Rollback();
}

Status TextOverlay::Set(std::uint32_t id, std::int64_t docid, std::string_view body) {
  const auto found = indexes_.indexes_.find(id);
  if (found == indexes_.indexes_.end() || !found->second.state.is_filled) return Status::Ok();
  const FullTextIndexes::Index& index = found->second;
  std::vector<std::string> columns(index.table.options.fields.size());
  if (!body.empty()) columns = index.extractor.Extract(body);
  return indexes_.file_->Upsert(index.table, docid, columns).status();
}

}  // namespace foreshore
