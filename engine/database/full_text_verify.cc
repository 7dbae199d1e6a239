// Comparing the full-text file with the documents.
#include "engine/database/full_text_indexes.h"
#include "engine/document/record.h"

namespace foreshore {
namespace {

// The documents that a table should have a row for, in docid order.
class ExpectedRows {
 public:
  ExpectedRows(Cursor& cursor, const TextExtractor& extractor, const TextTableState& state)
      : cursor_(cursor), extractor_(extractor), state_(state) {}
  Status First() {
    FORESHORE_RETURN_IF_ERROR(cursor_.SeekFirst());
    return Settle();
  }
  Status Next() {
    FORESHORE_RETURN_IF_ERROR(cursor_.Next());
    return Settle();
  }
  bool valid() const { return cursor_.valid() && (state_.is_filled || docid() < state_.filled_to); }
  std::int64_t docid() const { return cursor_.integer_key(); }
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  Status Settle() {
    while (cursor_.valid()) {
      const auto view = ViewRecord(cursor_.value());
      // A damaged record is named by the check of its collection.
      texts_ = view.ok() && view->alive ? extractor_.Extract(view->body) : std::vector<std::string>();
      for (const std::string& text : texts_) {
        if (!text.empty()) return Status::Ok();
      }
      FORESHORE_RETURN_IF_ERROR(cursor_.Next());
    }
    return Status::Ok();
  }
  Cursor& cursor_;
  const TextExtractor& extractor_;
  const TextTableState& state_;
  std::vector<std::string> texts_;
};

}  // namespace

Status FullTextIndexes::Verify(const std::function<void(std::string)>& problem) {
  if (empty()) return Status::Ok();
  std::vector<Index> indexes;
  {
    const std::lock_guard lock(mutex_);
    Status checked = ApplyHere();
    if (checked.ok()) checked = file_->CheckIntegrity();
    if (!checked.ok()) {
      problem(checked.message());
      if (checked.code() == ErrorCode::kCorruption && file_) DropFile(checked);
      return Status::Ok();
    }
    for (const auto& [id, index] : indexes_) {
      if (index.has_table) indexes.push_back(index);
    }
  }
  std::size_t problem_count = 0;
  const auto count = [&](std::string text) {
    ++problem_count;
    problem(std::move(text));
  };
  for (const Index& index : indexes) {
    // Commits go on meanwhile, so that a pair of equal states may take more than one look.
    std::unique_ptr<TextSnapshot> snapshot;
    std::unique_ptr<ReadTxn> txn;
    for (int attempt = 0; attempt < 100; ++attempt) {
      snapshot.reset();
      FORESHORE_ASSIGN_OR_RETURN(snapshot, Pin());
      FORESHORE_ASSIGN_OR_RETURN(txn, store_.BeginRead());
      FORESHORE_ASSIGN_OR_RETURN(const std::int64_t head, log_.Head(*txn));
      if (Covers(snapshot->sequence(), head)) break;
      txn.reset();
      FORESHORE_RETURN_IF_ERROR(Apply());
    }
    if (!txn) return Status::Busy("full-text index of \"" + index.name + "\": commits come too fast to compare with");
    FORESHORE_RETURN_IF_ERROR(Compare(index, *snapshot, *txn, count));
  }
  if (problem_count > 0) {
    const std::lock_guard lock(mutex_);
    if (file_) DropFile(Status::Corruption("full-text file \"" + path_ + "\": disagrees with the documents"));
  }
  return Status::Ok();
}

Status FullTextIndexes::Compare(const Index& index, TextSnapshot& snapshot, ReadTxn& txn,
                                const std::function<void(std::string)>& problem) {
  const std::string where = "full-text index of \"" + index.name + "\": ";
  FORESHORE_ASSIGN_OR_RETURN(const auto state, snapshot.State(index.table));
  if (!state) return Status::Ok();  // Dropped meanwhile.
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(index.documents));
  ExpectedRows expected(*cursor, index.extractor, *state);
  FORESHORE_RETURN_IF_ERROR(expected.First());
  std::uint64_t row_count = 0;
  const auto pass_missing = [&](std::int64_t up_to) -> Status {
    while (expected.valid() && expected.docid() < up_to) {
      problem(where + "document " + std::to_string(expected.docid()) + " is missing");
      FORESHORE_RETURN_IF_ERROR(expected.Next());
    }
    return Status::Ok();
  };
  const Status visited =
      snapshot.VisitRows(index.table, [&](std::int64_t docid, std::span<const std::string_view> columns) -> Status {
        ++row_count;
        FORESHORE_RETURN_IF_ERROR(pass_missing(docid));
        if (!expected.valid() || expected.docid() != docid) {
          problem(where + "has document " + std::to_string(docid) + ", which has no text");
          return Status::Ok();
        }
        for (std::size_t i = 0; i < columns.size(); ++i) {
          if (columns[i] != expected.texts()[i]) {
            problem(where + "text of document " + std::to_string(docid) + " is not what the document says");
            break;
          }
        }
        return expected.Next();
      });
  if (!visited.ok()) return visited;
  FORESHORE_RETURN_IF_ERROR(pass_missing(INT64_MAX));
  if (row_count != state->row_count) {
    problem(where + "counts " + std::to_string(state->row_count) + " documents, has " + std::to_string(row_count));
  }
  return Status::Ok();
}

}  // namespace foreshore
