// One scan of a collection by one of the ways of collection_plan.h.
//
// In a transaction the statement itself, or another one of the session, may write while the cursor is open. Then rows
// are copied, and a scan goes on from the place where it was; whether it meets what was written behind that place is
// not said, as in SQLite.
//
// Lifetime: ends before the snapshot that it reads. Threads: one at a time.
#pragma once

#include <sqlite3.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/query/collection_plan.h"
#include "engine/query/collection_table.h"
#include "engine/query/field_terms.h"
#include "engine/query/predict_ahead.h"
#include "engine/query/row_fields.h"
#include "engine/query/text_scan.h"

namespace foreshore {

class CollectionCursor : public sqlite3_vtab_cursor {
 public:
  explicit CollectionCursor(CollectionTable& table);
  ~CollectionCursor();
  CollectionCursor(const CollectionCursor&) = delete;
  CollectionCursor& operator=(const CollectionCursor&) = delete;

  // `text` is the plan's, as EXPLAIN QUERY PLAN shows it.
  Status Filter(const ScanPlan& plan, std::string_view text, sqlite3_value** arguments);
  Status Next();
  bool at_end() const { return at_end_; }
  std::int64_t docid() const { return docid_; }
  Status Column(sqlite3_context* context, const TableColumn& column);
  CollectionTable& table() { return table_; }
  // predict() by `model` was asked of the column's text, which this scan gave out last: further rows of a full scan are
  // predicted ahead, where nothing can write meanwhile.
  void PredictAhead(int column, const std::string& model_name, const std::shared_ptr<NumberModel>& model);
  // Of the row that the scan stands on, whose text of the column was given out; nullptr where it was not predicted.
  const std::string* Predicted(int column, std::string_view model_name);
  // nullptr where this scan is of another kind.
  TextScan* text() { return text_.get(); }

 private:
  Status StartFull();
  Status NextAhead();
  void FillFeeds();
  std::string_view TokenOf(const TableColumn& column, int number);
  std::string_view FieldToken(const TableColumn& column);
  Status NextListed();
  Status NextScanned();
  Status StartField(std::string_view text, sqlite3_value** arguments);
  Status StartListed(std::string_view text, sqlite3_value** arguments);
  Result<const FieldScanPlan*> FindFieldScan(std::string_view text) const;
  // Of an index that the snapshot has, or of a predictive one.
  Result<std::unique_ptr<EntryScan>> MakeEntryScan(const FieldScanPlan& plan, std::vector<KeyRange> ranges);
  Status PredictedColumn(sqlite3_context* context, const TableColumn& column);
  Status StartWithoutIndex(const FieldScanPlan& plan);
  // Whether the current row's document passes the terms that SQLite leaves to this scan.
  bool Passes() const { return !tests_documents_ || field_terms_.Pass(body_); }
  Status NextField();
  Status NextSorted();
  Status StartNearest(const ScanPlan& plan, std::string_view text, sqlite3_value** arguments);
  Result<std::unique_ptr<NeighbourCursor>> NearestAmong(const VectorIndexDefinition& index, std::vector<float> query,
                                                        const NeighbourOptions& options, std::string_view text,
                                                        sqlite3_value** arguments);
  // What the scan finds; nothing where that is more than `count_max`.
  Result<std::optional<std::vector<std::int64_t>>> GatherDocids(const FieldScanPlan& plan, std::vector<KeyRange> ranges,
                                                                std::size_t count_max);
  Status StartIdOrder(const ScanPlan& plan, sqlite3_value** arguments);
  Status StartText(const ScanPlan& plan, sqlite3_value** arguments);
  Status NextText();
  // Reads k from its argument.
  Status SetCount(sqlite3_value* value);
  // Calls `visit` with the ids of an argument: the value, or the right side of an IN.
  Status VisitIds(bool is_list, sqlite3_value* ids, const std::function<Status(std::int64_t)>& visit);
  Status MeasureListed(const VectorIndexDefinition& index, std::span<const float> query, bool is_list,
                       sqlite3_value* ids);
  Status NextInIdOrder();
  Status ReadIdOrderEntry(bool& found);
  Status MoveIdOrder();
  // Makes the document the current row; at_end_ where it is not there.
  Status StandOn(std::int64_t docid);
  void SetRow(std::int64_t docid, std::string_view id, std::string_view body);
  Status EnsureDocument();
  Status VectorColumn(sqlite3_context* context, const TableColumn& column);
  std::uint64_t write_count() const;
  // Only the statement's own transaction can write in its snapshot.
  bool can_be_written() const { return table_.session.running->writes || table_.session.running->in_transaction; }
  bool was_written() const { return can_be_written() && seen_write_count_ != write_count(); }

  CollectionTable& table_;
  ReadView* view_ = nullptr;
  const CollectionDefinition* definition_ = nullptr;  // Of view_'s catalogue.
  ScanPlan plan_;
  bool at_end_ = true;
  std::uint64_t seen_write_count_ = 0;  // The session's, when the scan was last positioned.

  const DocumentRestriction* only_ = nullptr;  // Set: all that this scan may yield.
  std::size_t only_position_ = 0;
  std::unique_ptr<DocumentCursor> scan_;
  std::unique_ptr<RowWindow> window_;  // Rows of scan_ that were read ahead.
  std::unique_ptr<EntryScan> field_scan_;
  std::vector<int> field_parts_;  // By column: which of the index's paths it is; -1: none.
  FieldTerms field_terms_;
  bool tests_documents_ = false;      // With field_terms_.
  std::vector<std::int64_t> sorted_;  // Where the plan's index is not in this snapshot: the next document last.
  std::unique_ptr<NeighbourCursor> nearest_;
  std::vector<Neighbour> measured_;  // The named documents with their distances, nearest last.
  std::unique_ptr<TextScan> text_;
  std::uintptr_t text_number_ = 0;  // In the session's text_cursors; 0: not there.
  TextRow text_row_;
  std::unique_ptr<Cursor> ids_;
  std::optional<std::string> id_upper_;  // In the direction of the scan: the bound at its end.
  std::optional<std::string> id_lower_;
  std::int64_t remaining_ = INT64_MAX;  // Neighbours that k still allows.
  std::int64_t count_ = 0;              // k as it was given.

  std::int64_t docid_ = 0;
  double distance_ = 0;
  bool has_document_ = false;  // id_ and body_ are the row's.
  std::string_view id_;        // Into the scan's record, or into copy_.
  std::string_view body_;
  std::string copy_;
  bool has_fields_ = false;
  std::unique_ptr<RowFields> fields_;
};

void SetCursorFunctions(sqlite3_module& module);

}  // namespace foreshore
