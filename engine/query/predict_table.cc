#include "engine/query/predict_table.h"

#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "engine/document/json_floats.h"
#include "engine/model/model_registry.h"
#include "engine/query/explain_inference.h"
#include "engine/query/sql_json.h"
#include "engine/query/table_function.h"

namespace foreshore {
namespace {

// An MLP of 16, 64, 32 and 1 takes 1 µs for a row alone, 0.19 for one of 16 in a call, and 0.17 from 64 on.
constexpr std::size_t kBatchRows = 256;
constexpr int kKeyColumn = 0;
constexpr int kOutputColumn = 1;

struct ValueDeleter {
  void operator()(sqlite3_value* value) const { sqlite3_value_free(value); }
};
struct StatementDeleter {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

class PredictCursor : public sqlite3_vtab_cursor {
 public:
  static constexpr const char* kName = "predict_batch";
  static constexpr const char* kDeclaration = "CREATE TABLE x(key, output, model HIDDEN, query HIDDEN)";
  static constexpr int kFirstArgument = kOutputColumn + 1;
  static constexpr int kArgumentCount = 2;
  static constexpr int kArgumentCountMin = 2;
  static constexpr const char* kExpected = "two arguments, a model's name and a query";
  using Arguments = std::array<sqlite3_value*, kArgumentCount>;

  explicit PredictCursor(SessionState& session) : sqlite3_vtab_cursor{}, session_(session) {}

  static void Describe(SessionState& session, sqlite3_index_info* info, const std::array<int, kArgumentCount>& terms) {
    std::string text = std::to_string(kBatchRows) + " rows of the query in one call";
    sqlite3_value* name = nullptr;
    if (sqlite3_vtab_rhs_value(info, terms[0], &name) == SQLITE_OK && name != nullptr) {
      text += " of " + std::string(TextOf(name)) + ", " + InferenceCostText(session, std::string(TextOf(name)), true);
    }
    info->idxStr = sqlite3_mprintf("%s", text.c_str());
    info->needToFreeIdxStr = 1;
  }

  Status Filter(const Arguments& arguments) {
    const auto [model, query] = arguments;
    at_ = row_count_ = 0;
    row_id_ = 0;
    is_done_ = false;
    statement_.reset();
    model_name_ = TextOf(model);
    const std::string& name = model_name_;
    FORESHORE_ASSIGN_OR_RETURN(model_, session_.core.models().LoadNumbers(name));
    const auto width = model_->row_width();
    if (!width) {
      return Status::Unsupported("predict_batch: model \"" + name +
                                 "\" takes no rows: expected one float input with an open first size, and one output");
    }
    width_ = *width;
    FORESHORE_RETURN_IF_ERROR(Compile(TextOf(query)));
    return Fill();
  }

  Status Next() {
    ++at_;
    ++row_id_;
    return at_ < row_count_ || is_done_ ? Status::Ok() : Fill();
  }
  bool at_end() const { return at_ >= row_count_; }
  std::int64_t row_id() const { return row_id_; }

  void Column(sqlite3_context* context, int column) const {
    if (column == kKeyColumn) return sqlite3_result_value(context, keys_[at_].get());
    if (column != kOutputColumn) return;
    const float* first = outputs_.values.data() + at_ * outputs_.width;
    if (outputs_.width == 1) {
      if (std::isfinite(*first)) sqlite3_result_double(context, static_cast<double>(*first));
      return;  // What is no finite number is NULL.
    }
    std::string text = "[";
    char digits[32];
    for (std::size_t i = 0; i < outputs_.width; ++i) {
      if (i > 0) text.push_back(',');
      if (std::isfinite(first[i])) {
        text.append(digits, std::to_chars(digits, digits + sizeof digits, first[i]).ptr);
      } else {
        text += "null";
      }
    }
    text.push_back(']');
    sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }

 private:
  Status Compile(std::string_view sql) {
    const auto texts_before = session_.notes.text_collections;
    session_.notes.text_collections.clear();
    sqlite3_stmt* compiled = nullptr;
    const char* tail = nullptr;
    const int code = sqlite3_prepare_v3(session_.db, sql.data(), static_cast<int>(sql.size()), 0, &compiled, &tail);
    statement_.reset(compiled);
    const bool searches_text = !session_.notes.text_collections.empty();
    session_.notes.text_collections = texts_before;
    if (code != SQLITE_OK) return session_.ErrorOf(code).WithContext("predict_batch: query");
    if (compiled == nullptr || sqlite3_stmt_readonly(compiled) == 0 || sqlite3_column_count(compiled) == 0 ||
        std::string_view(tail, static_cast<std::size_t>(sql.data() + sql.size() - tail))
                .find_first_not_of(" \t\r\n;") != std::string_view::npos) {
      return Status::InvalidArgument("predict_batch: query is \"" + std::string(sql.substr(0, 80)) +
                                     "\", expected one SELECT");
    }
    // The snapshot of the statement around was taken without its full-text states.
    if (searches_text) return Status::Unsupported("predict_batch: query searches full text");
    const auto columns = static_cast<std::size_t>(sqlite3_column_count(compiled));
    takes_arrays_ = columns == 2 && width_ != 1;
    if (columns == width_ + 1 || takes_arrays_) return Status::Ok();
    return Status::InvalidArgument("predict_batch: query has " + std::to_string(columns) +
                                   " columns, expected a key and " + std::to_string(width_) +
                                   " numbers, or a key and an array of them");
  }

  // The next rows of the query through the model.
  Status Fill() {
    at_ = row_count_ = 0;
    keys_.clear();
    inputs_.clear();
    while (row_count_ < kBatchRows && !is_done_) {
      const int code = sqlite3_step(statement_.get());
      if (code == SQLITE_DONE) {
        is_done_ = true;
      } else if (code != SQLITE_ROW) {
        return session_.ErrorOf(code).WithContext("predict_batch: query");
      } else {
        FORESHORE_RETURN_IF_ERROR(TakeRow());
      }
    }
    if (row_count_ == 0) return Status::Ok();
    InferenceTimer timer(session_.core.models().costs(), model_name_, row_count_);
    Status status = model_->PredictRows(inputs_, row_count_, outputs_, &session_);
    if (!status.ok()) timer.Cancel();
    return status;
  }

  std::string Where(int column) const {
    return "predict_batch: row " + std::to_string(row_id_ + static_cast<std::int64_t>(row_count_)) + ", column " +
           std::to_string(column);
  }

  Status TakeArray() {
    inputs_.resize(inputs_.size() + width_);
    sqlite3_value* value = sqlite3_column_value(statement_.get(), 1);
    const std::string_view text = sqlite3_value_type(value) == SQLITE_TEXT ? TextOf(value) : std::string_view();
    if (ReadFloatArray(text, std::span(inputs_).last(width_))) return Status::Ok();
    const int type = sqlite3_value_type(value);
    return Status::InvalidArgument(Where(1) + " is " +
                                   (type == SQLITE_NULL   ? "null"
                                    : type == SQLITE_TEXT ? std::string(text.substr(0, 80))
                                                          : "no array") +
                                   ", expected an array of " + std::to_string(width_) + " numbers");
  }

  Status TakeNumbers() {
    for (std::size_t i = 0; i < width_; ++i) {
      const int column = static_cast<int>(i) + 1;
      const int type = sqlite3_column_type(statement_.get(), column);
      if (type != SQLITE_INTEGER && type != SQLITE_FLOAT) {
        return Status::InvalidArgument(Where(column) + " is " + (type == SQLITE_NULL ? "null" : "no number") +
                                       ", expected a number");
      }
      inputs_.push_back(static_cast<float>(sqlite3_column_double(statement_.get(), column)));
    }
    return Status::Ok();
  }

  Status TakeRow() {
    FORESHORE_RETURN_IF_ERROR(takes_arrays_ ? TakeArray() : TakeNumbers());
    keys_.emplace_back(sqlite3_value_dup(sqlite3_column_value(statement_.get(), 0)));
    if (!keys_.back()) return Status::Limit("predict_batch: no memory for a key");
    ++row_count_;
    return Status::Ok();
  }

  SessionState& session_;
  std::string model_name_;
  std::shared_ptr<NumberModel> model_;
  std::unique_ptr<sqlite3_stmt, StatementDeleter> statement_;
  std::size_t width_ = 0;
  bool takes_arrays_ = false;  // Of all numbers of a row, in place of a column for each.
  std::vector<std::unique_ptr<sqlite3_value, ValueDeleter>> keys_;
  std::vector<float> inputs_;
  RowOutput outputs_;
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
