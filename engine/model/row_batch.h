// Rows for a model of numbers, gathered input by input, many in a call where each becomes the same alone and beside
// others.
//
// A model takes rows where the first size of every input is open and the others are known: a row is what lies behind
// that size, of inputs and outputs alike. Where the graph is not known to keep its rows apart they go one by one. Any
// other model takes whole inputs, one "row" in a call, and gives whole outputs.
//
// Lifetime: keeps the model. Threads: one at a time.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/inference/graph/graph.h"
#include "engine/model/model_registry.h"
#include "foreshore/bytes.h"

namespace foreshore {

class RowBatch {
 public:
  static constexpr std::size_t kRowsMax = 256;

  explicit RowBatch(std::shared_ptr<NumberModel> model);

  // As the model declares them; where it takes rows without their first size.
  const std::vector<graph::GraphPort>& inputs() const { return ports_; }
  bool takes_rows() const { return takes_rows_; }
  // Of one row of an input; 0 where that is open.
  std::size_t width(std::size_t input) const { return inputs_[input].width; }
  std::size_t rows_in_call() const { return rows_in_call_; }  // At most.
  std::size_t row_count() const { return row_count_; }

  void Clear();
  // What fills the inputs of the next row, each once, or number after number. Errors name the input, what was found and
  // what was expected, and are kInvalidArgument; the row has to be dropped then. Numbers become elements as
  // number_cast.h says.
  Status AddInteger(std::size_t input, std::int64_t number);
  Status AddReal(std::size_t input, double number);
  Status AddJson(std::size_t input, std::string_view json);  // As predict() takes it.
  Status AddBlob(std::size_t input, Bytes blob);             // A tensor (tensor_blob.h), or 32-bit floats for floats.
  Status AddObject(std::string_view json);                   // All inputs by name; other names are passed over.
  Status EndRow();
  void DropRow();

  // kUnsupported where an output has no first size of the rows.
  Status Run(Cancellation* cancellation);
  // Of the last run.
  struct Output {
    OnnxType type = OnnxType::kUndefined;
    std::span<const std::int64_t> shape;
    const std::byte* elements = nullptr;
    std::int64_t count = 0;
  };
  std::size_t output_count() const { return outputs_.size(); }
  Output OutputOf(std::size_t row, std::size_t output) const;
  // All outputs of a row: the one, or an object by name; numbers alone where there is one of them.
  Status AppendRow(std::size_t row, std::string& json) const;
  // The same as predict() gives it for the row alone.
  Status AppendPrediction(std::size_t row, std::string& json) const;

 private:
  struct Input {
    std::size_t width = 0;
    std::size_t element_bytes = 0;
    std::vector<std::byte> bytes;
    graph::Shape shape;      // Of a whole input, once it is known.
    bool has_shape = false;  // It is.
    std::size_t row_begin = 0;
  };
  Status AddElement(std::size_t input, const simdjson::dom::element& value);
  std::byte* Extend(Input& input, std::size_t count);
  // Whether `count` numbers that are nested as `shape` are this input's; notes the shape of a whole one.
  bool Fits(std::size_t input, std::size_t count, const graph::Shape& shape);
  template <typename Append>
  Status AppendOutputs(std::string& json, Append append) const;

  std::shared_ptr<NumberModel> model_;  // Shared with the registry.
  std::vector<graph::GraphPort> ports_;
  std::vector<Input> inputs_;
  bool takes_rows_ = false;
  std::size_t rows_in_call_ = 1;
  std::size_t row_count_ = 0;
  std::vector<graph::OwnedTensor> outputs_;
};

}  // namespace foreshore
