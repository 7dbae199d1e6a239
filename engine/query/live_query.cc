#include "engine/query/live_query.h"

#include <algorithm>

#include "engine/query/result_difference.h"

namespace foreshore {

namespace {

// With more changed documents than this the statement is run again without looking at each.
constexpr std::size_t kChangedDocumentsMax = 256;

std::size_t BytesOf(const SqlRow& row) {
  std::size_t bytes = sizeof(SqlRow) + row.size() * sizeof(SqlValue);
  for (const SqlValue& value : row) {
    if (const auto* text = std::get_if<std::string>(&value)) bytes += text->size();
    if (const auto* blob = std::get_if<SqlBlob>(&value)) bytes += blob->bytes.size();
  }
  return bytes;
}

// Functions that compute from their arguments or from a document that the statement reads anyway.
bool IsTableOfArguments(const std::string& name) {
  return name == "json_each" || name == "json_tree" || name == "generate_series" || name.starts_with("pragma_");
}

// The ends of a statement's run: its cursors go before the view that they read.
class BorrowedRun {
 public:
  BorrowedRun(SqlStatement& statement, ReadView& view, const DocumentRestriction* only) : statement_(statement) {
    statement_.UseView(&view, only);
  }
  ~BorrowedRun() {
    statement_.Reset().IgnoreError();
    statement_.UseView(nullptr, nullptr);
  }
  BorrowedRun(const BorrowedRun&) = delete;
  BorrowedRun& operator=(const BorrowedRun&) = delete;

 private:
  SqlStatement& statement_;
};

}  // namespace

Result<std::unique_ptr<LiveQuery>> LiveQuery::Prepare(SessionState& session, std::string sql, SqlRow parameters,
                                                      const SubscriptionOptions& options) {
  std::unique_ptr<LiveQuery> query(new LiveQuery(session, std::move(sql), std::move(parameters), options));
  FORESHORE_RETURN_IF_ERROR(query->Compile());
  return query;
}

Status LiveQuery::Compile() {
  StatementReads reads;
  session_.reads = &reads;
  auto prepared = session_.Prepare(sql_, nullptr);
  session_.reads = nullptr;
  if (!prepared.ok()) return prepared.status();
  std::unique_ptr<SqlStatement> statement = std::move(prepared).value();
  if (statement->control() != TransactionControl::kNone || !statement->only_reads() || statement->columns().empty()) {
    return Status::InvalidArgument("subscription: the statement writes or has no result, expected a SELECT");
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    FORESHORE_RETURN_IF_ERROR(statement->Bind(static_cast<int>(i) + 1, parameters_[i]));
  }
  statement_ = std::move(statement);
  catalog_version_ = session_.declared->version;
  FindReads(reads);
  FindKeyColumns();
  is_row_wise_ = is_single_table_ && reads.select_count == 1 && reads.tables.size() == 1 && collections_.size() == 1 &&
                 !reads_everything_ && vector_collections_.empty() && key_columns_.size() == 1 &&
                 HasOnlyRowWiseWords(sql_) &&
                 std::none_of(reads.functions.begin(), reads.functions.end(),
                              [&](const std::string& name) { return session_.IsAggregate(name); });
  return Status::Ok();
}

void LiveQuery::FindReads(const StatementReads& reads) {
  const Catalog& catalog = *session_.declared;
  reads_everything_ = false;
  collections_.clear();
  vector_collections_.clear();
  for (const std::string& table : reads.tables) {
    if (const CollectionDefinition* collection = catalog.Find(table)) {
      collections_.insert(collection->id);
    } else if (!IsTableOfArguments(table)) {
      reads_everything_ = true;
    }
  }
  for (const auto& [table, column] : reads.columns) {
    const CollectionDefinition* collection = catalog.Find(table);
    if (collection != nullptr && collection->FindVectorIndex(column) != nullptr) {
      vector_collections_.insert(collection->id);
    }
  }
  // A model that was replaced answers otherwise.
  if (reads.functions.contains("embed") || reads.functions.contains("predict")) {
    if (const CollectionDefinition* models = catalog.Find(kModelsCollection)) collections_.insert(models->id);
  }
}

void LiveQuery::FindKeyColumns() {
  key_columns_.clear();
  for (std::size_t i = 0; i < statement_->columns().size(); ++i) {
    if (statement_->IsIdColumn(static_cast<int>(i))) key_columns_.push_back(i);
  }
}

void LiveQuery::NoteChange(const Change& change) {
  if (any_changed_) return;
  if (reads_everything_) {
    any_changed_ = true;
    return;
  }
  if (!collections_.contains(change.collection_id)) return;
  switch (change.kind) {
    case ChangeKind::kVector:
      if (vector_collections_.contains(change.collection_id)) any_changed_ = true;
      break;
    case ChangeKind::kDocument:
      if (is_row_wise_ && changed_docids_.size() < kChangedDocumentsMax) {
        changed_docids_.insert(change.docid);
        break;
      }
      [[fallthrough]];
    default: any_changed_ = true; break;
  }
  if (any_changed_) changed_docids_.clear();
}

// Looks at the changed documents alone: whether one is in the last result, or would be in one of the documents that
// changed. Then everything before and behind it stays as it was.
Result<bool> LiveQuery::CanMatter(ReadView& view) {
  if (is_first_ || any_changed_ || !is_row_wise_) return true;
  DocumentRestriction only;
  only.collection_id = *collections_.begin();
  const CollectionDefinition* collection = view.catalog().FindById(only.collection_id);
  if (collection == nullptr) return true;
  for (const std::int64_t docid : changed_docids_) {
    FORESHORE_ASSIGN_OR_RETURN(const auto record, view.txn().Get(collection->documents, docid));
    if (!record) return true;
    FORESHORE_ASSIGN_OR_RETURN(const RecordView document, ViewRecord(*record));
    if (result_ids_.contains(std::string(document.id))) return true;
    only.docids.push_back(docid);
  }
  const BorrowedRun run(*statement_, view, &only);
  return statement_->Step();
}

Result<std::vector<SqlRow>> LiveQuery::Run(ReadView& view) {
  ++run_count_;
  const BorrowedRun run(*statement_, view, nullptr);
  std::vector<SqlRow> rows;
  std::size_t bytes = 0;
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, statement_->Step());
    if (!has_row) break;
    SqlRow row;
    row.reserve(statement_->columns().size());
    for (std::size_t i = 0; i < statement_->columns().size(); ++i) {
      row.push_back(statement_->Column(static_cast<int>(i)));
    }
    bytes += BytesOf(row);
    rows.push_back(std::move(row));
    if (rows.size() > options_.row_count_max) {
      return Status::Limit("subscription: the result has more than " + std::to_string(options_.row_count_max) +
                           " rows, the limit of its row_count_max");
    }
    if (bytes > options_.result_bytes_max) {
      return Status::Limit("subscription: the result has more than " + std::to_string(options_.result_bytes_max) +
                           " bytes, the limit of its result_bytes_max");
    }
  }
  // A second cursor means a second table, and with it rows that depend on more than one document.
  if (statement_->opened_cursor_count() != 1) is_row_wise_ = is_single_table_ = false;
  return rows;
}

void LiveQuery::NoteResultIds() {
  result_ids_.clear();
  if (!is_row_wise_) return;
  for (const SqlRow& row : rows_) {
    const auto* id = std::get_if<std::string>(&row[key_columns_[0]]);
    if (id != nullptr) result_ids_.insert(*id);
  }
}

Result<std::optional<ResultChanges>> LiveQuery::Evaluate(ReadView& view) {
  if (session_.core.catalog()->version != catalog_version_) {
    FORESHORE_RETURN_IF_ERROR(Compile());
    NoteResultIds();
    // Other columns: "*" means more now.
    if (!is_first_ && statement_->columns() != columns_) any_changed_ = true;
  }
  FORESHORE_ASSIGN_OR_RETURN(const bool can_matter, CanMatter(view));
  changed_docids_.clear();
  any_changed_ = false;
  if (!can_matter) return std::optional<ResultChanges>();
  FORESHORE_ASSIGN_OR_RETURN(std::vector<SqlRow> rows, Run(view));
  ResultChanges changes;
  changes.is_first = is_first_;
  changes.sequence = view.sequence();
  changes.columns = statement_->columns();
  changes.changes = DiffResults(rows_, rows, key_columns_);
  changes.row_count = rows.size();
  const bool differs = is_first_ || !changes.changes.empty();
  is_first_ = false;
  columns_ = changes.columns;
  rows_ = std::move(rows);
  NoteResultIds();
  if (!differs) return std::optional<ResultChanges>();
  return std::optional<ResultChanges>(std::move(changes));
}

}  // namespace foreshore
