// predict() over a table's rows, many in one call of the model although SQLite asks row by row.
//
// When predict() of a constant model meets the text of a column that a full scan has just given out, the scan is told
// (PredictFeed). From then on it reads some rows ahead (RowWindow), takes their numbers and runs the model on all of
// them at once; predict() finds its row's result there. It looks only where the text is the same, and computes what it
// does not find, errors included, so results are those of row by row. Only models whose rows know nothing of each other
// are run so. What is computed in vain is bounded: windows begin small, grow while their rows are asked for, and end
// where fewer than half of them were.
//
// Lifetime: belongs to the scan's cursor. Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/read_view.h"
#include "engine/model/model_registry.h"
#include "storage/base/cancellation.h"

namespace foreshore {

// One model over one column of a scan.
class PredictFeed {
 public:
  PredictFeed(std::string model_name, std::shared_ptr<NumberModel> model, int column);

  int column() const { return column_; }
  bool is_of(int column, std::string_view model_name) const { return column == column_ && model_name == model_name_; }

  // Before a window's rows. Where it has computed in vain too often it does nothing from now on.
  void Begin();
  bool is_on() const { return is_on_; }
  void AddRow(std::string_view token);  // In order. Valid until the next Begin().
  // Errors leave the rows to predict().
  void Run(InferenceCosts& costs, Cancellation* cancellation);

  bool HasRow(std::size_t row) const { return row < tokens_.size(); }  // Else it came after the window was filled.
  std::string_view TokenOf(std::size_t row) const { return tokens_[row]; }
  // What predict() gives for the row's token; nullptr where it is not known. Valid until the next call.
  const std::string* ResultOf(std::size_t row);

 private:
  std::string model_name_;
  std::shared_ptr<NumberModel> model_;
  int column_;
  std::size_t width_;
  std::vector<std::string_view> tokens_;     // By row.
  std::vector<std::int32_t> result_places_;  // By row: which of the outputs; -1: none.
  std::vector<float> inputs_;
  RowOutput outputs_;
  std::size_t asked_count_ = 0;  // Rows of the window.
  bool is_on_ = true;
  std::string text_;
};

// Documents that a scan has read ahead.
class RowWindow {
 public:
  static constexpr std::size_t kRowsMin = 8;
  static constexpr std::size_t kRowsMax = 256;
  static constexpr std::size_t kBytesMax = 1 << 20;  // Of documents, as soon as there are so many.

  struct Row {
    std::int64_t docid = 0;
    std::string_view id;
    std::string_view body;
  };
  // Moves to the next row that was read; false where more have to be.
  bool Next() { return ++at_ < rows_.size(); }
  // Reads rows from the scan, which may end or fail in between: what comes after those rows is then reported by the
  // next Fill. Stands on the first row. False at the end.
  Result<bool> Fill(DocumentCursor& scan);

  std::size_t at() const { return at_; }
  const std::vector<Row>& rows() const { return rows_; }
  std::vector<std::unique_ptr<PredictFeed>>& feeds() { return feeds_; }
  PredictFeed* FeedOf(int column, std::string_view model_name);

 private:
  std::vector<std::unique_ptr<PredictFeed>> feeds_;
  std::vector<Row> rows_;
  std::string bytes_;
  std::size_t at_ = 0;
  std::size_t wanted_count_ = kRowsMin;
  bool is_at_end_ = false;
  Status failure_;
};

}  // namespace foreshore
