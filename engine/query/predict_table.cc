#include "engine/query/predict_table.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "engine/document/json.h"
#include "engine/model/row_batch.h"
#include "engine/model/tensor_json.h"
#include "engine/query/explain_inference.h"
#include "engine/query/sql_json.h"
#include "engine/query/table_function.h"
#include "foreshore/sql_tokens.h"

namespace foreshore {
namespace {

constexpr int kKeyColumn = 0;
constexpr int kOutputColumn = 1;

struct ValueDeleter {
  void operator()(sqlite3_value* value) const { sqlite3_value_free(value); }
};
struct StatementDeleter {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

// Where the values of a row come from.
enum class Layout : std::uint8_t {
  kNumbers,  // A column for each number of the one input.
  kInputs,   // A column for each input.
  kObject,   // One column, an object of all inputs.
  kTexts,    // One column, for a text model.
};

class PredictCursor : public sqlite3_vtab_cursor {
 public:
  static constexpr const char* kName = "predict_batch";
  static constexpr const char* kDeclaration = "CREATE TABLE x(key, output, model HIDDEN, query HIDDEN, adapter HIDDEN)";
  static constexpr int kFirstArgument = kOutputColumn + 1;
  static constexpr int kArgumentCount = 3;
  static constexpr int kArgumentCountMin = 2;
  static constexpr const char* kExpected = "two arguments, a model's name and a query, or an adapter as well";
  using Arguments = std::array<sqlite3_value*, kArgumentCount>;

  explicit PredictCursor(SessionState& session) : sqlite3_vtab_cursor{}, session_(session) {}

  // An MLP of 16, 64, 32 and 1 takes 1 us for a row alone, 0.19 for one of 16 in a call, and 0.17 from 64 on.
  static void Describe(SessionState& session, sqlite3_index_info* info, const std::array<int, kArgumentCount>& terms) {
    std::string text = "rows of the query";
    sqlite3_value* value = nullptr;
    if (sqlite3_vtab_rhs_value(info, terms[0], &value) == SQLITE_OK && value != nullptr) {
      const std::string name(TextOf(value));
      const auto model = session.core.models().LoadNumbersOrNull(name);
      std::size_t row_count = 1;
      if (model.ok() && *model) row_count = RowBatch(*model).rows_in_call();
      text = (row_count > 1 ? std::to_string(row_count) + " rows" : "one row") + " of the query in one call of " +
             name + ", " + InferenceCostText(session, name, row_count > 1);
    }
    info->idxStr = sqlite3_mprintf("%s", text.c_str());
    info->needToFreeIdxStr = 1;
  }

  Status Filter(const Arguments& arguments) {
    const auto [model, query, adapter] = arguments;
    at_ = row_count_ = 0;
    row_id_ = 0;
    is_done_ = false;
    statement_.reset();
    model_name_ = TextOf(model);
    // All rows of the statement are of one version.
    FORESHORE_ASSIGN_OR_RETURN(const StatementModel* known,
                               session_.ModelOf(model_name_, adapter != nullptr ? TextOf(adapter) : ""));
    predictor_ = known->predictor;
    rows_.reset();
    if (predictor_->numbers()) rows_.emplace(predictor_->numbers());
    FORESHORE_RETURN_IF_ERROR(Compile(TextOf(query)));
    FORESHORE_RETURN_IF_ERROR(Arrange());
    return Fill();
  }

  Status Next() {
    ++at_;
    ++row_id_;
    return at_ < row_count_ || is_done_ ? Status::Ok() : Fill();
  }
  bool at_end() const { return at_ >= row_count_; }
  std::int64_t row_id() const { return row_id_; }

  Status Column(sqlite3_context* context, int column) const {
    if (column == kKeyColumn) sqlite3_result_value(context, keys_[at_].get());
    if (column != kOutputColumn) return Status::Ok();
    std::string text;
    if (!rows_) {
      text = *results_[at_];
    } else if (rows_->output_count() == 1 && rows_->OutputOf(at_, 0).count == 1) {
      return SetNumber(context, rows_->OutputOf(at_, 0));
    } else {
      FORESHORE_RETURN_IF_ERROR(rows_->AppendRow(at_, text).WithContext(Where(row_id_)));
    }
    sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    sqlite3_result_subtype(context, kJsonSubtype);
    return Status::Ok();
  }

 private:
  // What is no finite number is NULL.
  static Status SetNumber(sqlite3_context* context, const RowBatch::Output& output) {
    return graph::Dispatch<graph::kAllTypes>(output.type, [&]<typename T>() {
      const auto value = static_cast<graph::Wide<T>>(*reinterpret_cast<const T*>(output.elements));
      if constexpr (!std::is_integral_v<T>) {
        if (std::isfinite(value)) sqlite3_result_double(context, static_cast<double>(value));
      } else if (std::in_range<std::int64_t>(value)) {
        sqlite3_result_int64(context, static_cast<std::int64_t>(value));
      } else {
        sqlite3_result_double(context, static_cast<double>(value));
      }
      return Status::Ok();
    });
  }

  Status Compile(std::string_view sql) {
    CompilerNotes before = std::exchange(session_.notes, {});
    sqlite3_stmt* compiled = nullptr;
    const char* tail = nullptr;
    const int code = sqlite3_prepare_v3(session_.db, sql.data(), static_cast<int>(sql.size()), 0, &compiled, &tail);
    statement_.reset(compiled);
    const CompilerNotes notes = std::exchange(session_.notes, std::move(before));
    if (code != SQLITE_OK) return session_.ErrorOf(code).WithContext("predict_batch: query");
    if (compiled == nullptr || sqlite3_stmt_readonly(compiled) == 0 || sqlite3_column_count(compiled) == 0 ||
        std::string_view(tail, static_cast<std::size_t>(sql.data() + sql.size() - tail))
                .find_first_not_of(" \t\r\n;") != std::string_view::npos) {
      return Status::InvalidArgument("predict_batch: query is \"" + std::string(sql.substr(0, 80)) +
                                     "\", expected one SELECT");
    }
    // The snapshot of the statement around was taken without its full-text states.
    if (!notes.text_collections.empty() || !notes.misplaced_match.empty())
      return Status::Unsupported("predict_batch: query searches full text");
    return Status::Ok();
  }

  // Which column is what.
  Status Arrange() {
    const int count = sqlite3_column_count(statement_.get()) - 1;
    if (!rows_) {
      layout_ = Layout::kTexts;
      return count == 1 ? Status::Ok() : WrongColumns("a key and a text");
    }
    const auto& inputs = rows_->inputs();
    columns_.clear();
    if (inputs.size() == 1) {
      layout_ = count == 1 ? Layout::kInputs : Layout::kNumbers;
      columns_ = {1};
      const std::size_t width = rows_->width(0);
      if (count == 1 || (count > 1 && (width == 0 || static_cast<std::size_t>(count) == width))) return Status::Ok();
      return WrongColumns("a key and " + (width == 0 ? std::string("the") : std::to_string(width)) +
                          " numbers, or a key and an array of them");
    }
    if (count == 1) {
      layout_ = Layout::kObject;
      return Status::Ok();
    }
    layout_ = Layout::kInputs;
    std::string names;
    for (const graph::GraphPort& input : inputs) names += (names.empty() ? "" : ", ") + std::string(input.name);
    const std::string expected = "a key and the inputs " + names + ", each once and by its name, or an object of them";
    if (static_cast<std::size_t>(count) != inputs.size()) return WrongColumns(expected);
    for (const graph::GraphPort& input : inputs) {
      const int column = ColumnOf(input.name);
      if (column < 0 || std::find(columns_.begin(), columns_.end(), column) != columns_.end()) {
        return Status::InvalidArgument("predict_batch: query has no column \"" + std::string(input.name) +
                                       "\", expected " + expected);
      }
      columns_.push_back(column);
    }
    return Status::Ok();
  }

  Status WrongColumns(const std::string& expected) const {
    return Status::InvalidArgument("predict_batch: query has " +
                                   std::to_string(sqlite3_column_count(statement_.get())) + " columns, expected " +
                                   expected);
  }

  // As it is written, else without regard to case; -1 where there is none.
  int ColumnOf(std::string_view name) const {
    int found = -1;
    for (int column = 1; column < sqlite3_column_count(statement_.get()); ++column) {
      const char* text = sqlite3_column_name(statement_.get(), column);
      const std::string_view own = text != nullptr ? text : "";
      if (own == name) return column;
      if (found < 0 && EqualsIgnoringCase(own, name)) found = column;
    }
    return found;
  }

  // The next rows of the query through the model.
  Status Fill() {
    at_ = row_count_ = 0;
    keys_.clear();
    texts_.clear();
    if (rows_) rows_->Clear();
    const std::size_t row_count_max = rows_ ? rows_->rows_in_call() : RowBatch::kRowsMax;
    while (row_count_ < row_count_max && !is_done_) {
      const int code = sqlite3_step(statement_.get());
      if (code == SQLITE_DONE) {
        is_done_ = true;
      } else if (code != SQLITE_ROW) {
        return session_.ErrorOf(code).WithContext("predict_batch: query");
      } else {
        FORESHORE_RETURN_IF_ERROR(TakeRow().WithContext(Where(row_id_ + static_cast<std::int64_t>(row_count_))));
        keys_.emplace_back(sqlite3_value_dup(sqlite3_column_value(statement_.get(), 0)));
        if (!keys_.back()) return Status::Limit("predict_batch: no memory for a key");
        ++row_count_;
      }
    }
    return row_count_ > 0 ? Run() : Status::Ok();
  }

  Status Run() {
    if (!rows_) {
      FORESHORE_RETURN_IF_ERROR(predictor_->PredictAll(texts_, results_, &session_));
      for (std::size_t i = 0; i < results_.size(); ++i) {
        if (!results_[i].ok()) {
          return results_[i].status().WithContext(Where(row_id_ + static_cast<std::int64_t>(i)));
        }
      }
      return Status::Ok();
    }
    InferenceTimer timer(session_.core.models().costs(), model_name_, row_count_);
    const Status status = rows_->Run(&session_);
    if (status.ok()) return status;
    timer.Cancel();
    return row_count_ == 1 ? status.WithContext(Where(row_id_)) : status.WithContext("predict_batch");
  }

  static std::string Where(std::int64_t row) { return "predict_batch: row " + std::to_string(row); }

  Status TakeRow() {
    switch (layout_) {
      case Layout::kTexts: return TakeText();
      case Layout::kObject: {
        sqlite3_value* value = sqlite3_column_value(statement_.get(), 1);
        if (!IsJson(value, '{')) {
          return Status::InvalidArgument("column 1: found " + Found(value) + ", expected an object of the inputs");
        }
        FORESHORE_RETURN_IF_ERROR(rows_->AddObject(TextOf(value)));
        break;
      }
      case Layout::kInputs:
        for (std::size_t i = 0; i < columns_.size(); ++i) {
          FORESHORE_RETURN_IF_ERROR(TakeInput(i, sqlite3_column_value(statement_.get(), columns_[i])));
        }
        break;
      case Layout::kNumbers:
        for (int column = 1; column < sqlite3_column_count(statement_.get()); ++column) {
          FORESHORE_RETURN_IF_ERROR(TakeNumber(column));
        }
        break;
    }
    return rows_->EndRow();
  }

  static bool IsJson(sqlite3_value* value, char first) {
    return sqlite3_value_type(value) == SQLITE_TEXT && TextOf(value).starts_with(first);
  }
  static std::string Found(sqlite3_value* value) {
    switch (sqlite3_value_type(value)) {
      case SQLITE_NULL: return "null";
      case SQLITE_BLOB: return "a blob of " + std::to_string(sqlite3_value_bytes(value)) + " bytes";
      default: return std::string(TextOf(value).substr(0, 80));
    }
  }

  Status TakeText() {
    sqlite3_value* value = sqlite3_column_value(statement_.get(), 1);
    if (sqlite3_value_type(value) != SQLITE_TEXT) {
      return Status::InvalidArgument("column 1: found " + Found(value) + ", expected a text");
    }
    AppendJsonString(texts_.emplace_back(), TextOf(value));
    return Status::Ok();
  }

  Status TakeNumber(int column) {
    sqlite3_value* value = sqlite3_column_value(statement_.get(), column);
    const auto where = [&](const Status& status) { return status.WithContext("column " + std::to_string(column)); };
    switch (sqlite3_value_type(value)) {
      case SQLITE_INTEGER: return where(rows_->AddInteger(0, sqlite3_value_int64(value)));
      case SQLITE_FLOAT: return where(rows_->AddReal(0, sqlite3_value_double(value)));
      default:
        return where(Status::InvalidArgument("input \"" + std::string(rows_->inputs()[0].name) + "\": found " +
                                             Found(value) + ", expected a number"));
    }
  }

  Status TakeInput(std::size_t input, sqlite3_value* value) {
    switch (sqlite3_value_type(value)) {
      case SQLITE_INTEGER: return rows_->AddInteger(input, sqlite3_value_int64(value));
      case SQLITE_FLOAT: return rows_->AddReal(input, sqlite3_value_double(value));
      case SQLITE_BLOB:
        return rows_->AddBlob(input, Bytes(static_cast<const char*>(sqlite3_value_blob(value)),
                                           static_cast<std::size_t>(sqlite3_value_bytes(value))));
      default: break;
    }
    if (IsJson(value, '[')) return rows_->AddJson(input, TextOf(value));
    if (rows_->inputs().size() == 1 && IsJson(value, '{')) return rows_->AddObject(TextOf(value));
    return InputMisfit(rows_->inputs()[input], Found(value));
  }

  SessionState& session_;
  std::string model_name_;
  std::shared_ptr<const Predictor> predictor_;  // Shared with the statement.
  std::optional<RowBatch> rows_;                // Not of a text model.
  std::unique_ptr<sqlite3_stmt, StatementDeleter> statement_;
  Layout layout_ = Layout::kInputs;
  std::vector<int> columns_;  // By input.
  std::vector<std::unique_ptr<sqlite3_value, ValueDeleter>> keys_;
  std::vector<std::string> texts_;            // As JSON.
  std::vector<Result<std::string>> results_;  // Of the texts.
  std::size_t row_count_ = 0;
  std::size_t at_ = 0;
  std::int64_t row_id_ = 0;
  bool is_done_ = false;
};

}  // namespace

Status RegisterPredictTable(SessionState& session) {
  return TableFunction<PredictCursor>::Register(session);
}

}  // namespace foreshore
