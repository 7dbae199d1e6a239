#include "engine/query/predict_ahead.h"

#include <algorithm>

#include "engine/document/json_floats.h"
#include "engine/model/tensor_json.h"

namespace foreshore {

PredictFeed::PredictFeed(std::string model_name, std::shared_ptr<NumberModel> model, int column)
    : model_name_(std::move(model_name)),
      model_(std::move(model)),
      column_(column),
      width_(model_->row_width().value_or(0)) {}

void PredictFeed::Begin() {
  is_on_ = is_on_ && asked_count_ * 2 >= tokens_.size();
  asked_count_ = 0;
  tokens_.clear();
  result_places_.clear();
  inputs_.clear();
}

void PredictFeed::AddRow(std::string_view token) {
  if (!is_on_) return;
  tokens_.push_back(token);
  const std::size_t begin = inputs_.size();
  inputs_.resize(begin + width_);
  const bool is_read = ReadFloatArray(token, std::span(inputs_).subspan(begin));
  if (!is_read) inputs_.resize(begin);
  result_places_.push_back(is_read ? static_cast<std::int32_t>(begin / width_) : -1);
}

void PredictFeed::Run(InferenceCosts& costs, Cancellation* cancellation) {
  if (inputs_.empty()) return;
  const std::size_t row_count = inputs_.size() / width_;
  InferenceTimer timer(costs, model_name_, row_count);
  if (model_->PredictRows(inputs_, row_count, outputs_, cancellation).ok()) return;
  timer.Cancel();
  std::fill(result_places_.begin(), result_places_.end(), -1);
}

const std::string* PredictFeed::ResultOf(std::size_t row) {
  ++asked_count_;
  if (row >= result_places_.size() || result_places_[row] < 0) return nullptr;
  text_ = "[";
  AppendRowJson(outputs_.shape, outputs_.values.data() + static_cast<std::size_t>(result_places_[row]) * outputs_.width,
                text_);
  text_ += ']';
  return &text_;
}

PredictFeed* RowWindow::FeedOf(int column, std::string_view model_name) {
  for (const auto& feed : feeds_) {
    if (feed->is_of(column, model_name)) return feed.get();
  }
  return nullptr;
}

Result<bool> RowWindow::Fill(DocumentCursor& scan) {
  at_ = 0;
  rows_.clear();
  bytes_.clear();
  while (!is_at_end_ && failure_.ok() && rows_.size() < wanted_count_ && bytes_.size() < kBytesMax) {
    const auto found = scan.Next();
    if (!found.ok()) {
      failure_ = found.status();
    } else if (!*found) {
      is_at_end_ = true;
    } else {
      bytes_.append(scan.id());
      bytes_.append(scan.body());
      rows_.push_back({scan.docid(), scan.id(), scan.body()});
    }
  }
  wanted_count_ = std::min(wanted_count_ * 2, kRowsMax);
  if (rows_.empty()) {
    FORESHORE_RETURN_IF_ERROR(failure_);
    return false;
  }
  // The bytes have come to rest; the views' sizes still hold.
  std::string_view rest = bytes_;
  for (Row& row : rows_) {
    const std::size_t id_bytes = row.id.size();
    const std::size_t body_bytes = row.body.size();
    row.id = rest.substr(0, id_bytes);
    row.body = rest.substr(id_bytes, body_bytes);
    rest.remove_prefix(id_bytes + body_bytes);
  }
  return true;
}

}  // namespace foreshore
