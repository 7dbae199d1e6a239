// A predictive index: what a model's answer over a collection's documents holds at one place, kept per document and
// ordered; its row in the catalogue. What the model is given of a document is predicted_input.h.
//
// SQL sees the value as a hidden column whose name is the expression that it stands for, and as a path of the secondary
// index `field`, so that plans and scans are those of secondary indexes.
//
// Keyspaces, by the number `storage`, which is another one for each version of the model:
//   q<storage>  bytes    a field_key.h value and docid -> mark (field_entries.h): every document with a value here
//   p<storage>  integer  docid -> PredictedValue::Encode()
//   w<storage>  integer  docid -> nothing: its value is missing, or of an earlier state of the document;
//                        0 -> from which docid on documents are still to be looked at, i64; absent: all were;
//                        -docid -> SHA-256 of an attachment's content that is not here: the document has no value
//
// Threads: values; no sharing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/field_index.h"
#include "engine/database/predicted_input.h"
#include "engine/document/json.h"
#include "engine/model/model_pin.h"
#include "foreshore/database.h"
#include "storage/store.h"

namespace foreshore {

// A place in the JSON that predict() gives: "$[0][1]", "$.scores[0]".
class OutputPath {
 public:
  // kInvalidArgument where it is none, or empty.
  static Result<OutputPath> Parse(std::string_view text);
  // Appends what one `->` or `->>` of SQL means: a path, a key, or a number. False where it is none of these.
  bool Append(std::string_view text);
  void AppendIndex(std::uint64_t index) { steps_.push_back({true, index, {}}); }

  bool empty() const { return steps_.empty(); }
  std::string ToText() const;  // Equal paths have equal texts.
  // The token there, in JSON without white space; empty where there is none.
  std::string_view Find(std::string_view json) const;
  // As a path of documents (kPathSeparator); empty where it has an index.
  std::string AsDocumentPath() const;

 private:
  struct Step {
    bool is_index = false;
    std::uint64_t index = 0;
    std::string key;
  };
  bool AppendStep(std::string_view& rest);
  std::vector<Step> steps_;
};

struct PredictiveIndexDefinition {
  std::uint32_t id = 0;
  std::uint32_t collection_id = 0;
  std::string name;  // "points.scores_x"
  PredictiveIndexOptions options;
  PredictedInput input;  // options.path
  OutputPath output;     // options.output
  std::string column;    // "predict('scores', x) ->> '$[0][0]'"
  ModelPin pin = {};     // What all values are made by.
  std::uint32_t storage = 0;
  FieldIndexDefinition field = {};  // Of the same id; its entries are q<storage>.
  KeyspaceId values = 0;            // p<storage>
  KeyspaceId pending = 0;           // w<storage>
};

inline constexpr std::int64_t kPredictionFillKey = 0;  // In `pending`; documents begin at 1.

// Checks the options, and fills in all but ids, pin, storage and keyspaces. Errors name the index.
Result<PredictiveIndexDefinition> DefinePredictiveIndex(const std::string& collection,
                                                        const PredictiveIndexOptions& options);
// The stored form: a row of the keyspace "catalog", without keyspace ids.
ByteString EncodePredictiveIndex(const PredictiveIndexDefinition& index);
Result<PredictiveIndexDefinition> DecodePredictiveIndex(Bytes bytes);

// The path of a hidden column in a FieldIndexDefinition, which no document has.
std::string PathOfPrediction(std::string_view column);
inline bool IsPathOfPrediction(std::string_view path) {
  return path.starts_with(kPathSeparator);
}

// What a document's input becomes.
struct PredictedValue {
  enum class Kind : std::uint8_t {  // Stored: never renumber.
    kNone = 0,                      // There is no input, or no finite number for it: NULL.
    kNumber = 1,
    kFailed = 2,  // The model does not take the input, or has no number at the output path: NULL.
    // Never stored as such: the attachment's content is not here. Nothing is known, and a statement reads NULL.
    kAwaited = 3,
  };
  Kind kind = Kind::kNone;
  std::string text;  // The JSON number; why there is none; the attachment's content, in hexadecimal.

  static PredictedValue Failed(std::string_view why);
  std::string_view token() const { return kind == Kind::kNumber ? std::string_view(text) : std::string_view(); }
  ByteString Encode() const;
  static Result<PredictedValue> Decode(Bytes bytes);
  // The entry's key in q<storage>, and its value.
  ByteString Key(std::int64_t docid, ByteString& marks) const;
};

// The value of predict()'s JSON. An input with gaps that the model does not take is none.
PredictedValue ValueOf(const PredictiveIndexDefinition& index, const PredictionSource& source,
                       const Result<std::string>& prediction);
// What predict() takes of a document's token at the path; empty: nothing.
std::string InputOfToken(std::string_view token, bool takes_text);

}  // namespace foreshore
