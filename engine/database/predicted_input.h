// What predict() takes of a document, as a predictive index has it and as statements write it:
//
//   x, place.row                                    the value of a field
//   json_array(a, b, 0.5)                           several, gathered: fields, numbers, texts, NULL, and the same
//   json_object('age', age, 'history', history)     nested; each value is what SQL's column of that name has
//   image_tensor(attachment('parts', id, 'photo.jpg'), '{"width":224}')    an image of the document's own attachments
//
// Threads: values; no sharing.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/image/image_tensor.h"
#include "foreshore/sql_tokens.h"
#include "foreshore/status.h"
#include "storage/blob_store.h"

namespace foreshore {

// Letters, digits and '_', no digit first: what stands in SQL and in paths without quotes.
bool IsPlainName(std::string_view name);
// As SQL quotes: `quote` around it, and twice within.
std::string Quoted(std::string_view text, char quote);

// What the input follows from: of a field its token, of several what they are gathered to, of an image which content.
struct PredictionSource {
  std::string text = {};
  bool has_gaps = false;  // A field that is gathered is missing, or null.
};

class PredictedInput {
 public:
  // Of an index over a collection. kInvalidArgument for what is none of the above.
  static Result<PredictedInput> Parse(const std::string& collection, std::string_view text);
  static Result<PredictedInput> OfPath(std::string_view dotted);
  // What is no path: a call of one of the functions.
  static bool IsExpression(std::string_view text);
  // A call in a statement, of the tokens from `at` on, behind which it moves. `qualifier` becomes what stands before
  // each of its columns, as "t."; absent where that is not the same for all, and for anything else.
  static std::optional<PredictedInput> Read(std::string_view sql, std::span<const SqlToken> tokens, std::size_t& at,
                                            std::string& qualifier);

  bool is_path() const { return root_.kind == Kind::kField; }
  bool is_image() const { return root_.kind == Kind::kImage; }
  // In internal form, in the order in which SQL reads the columns; "id" for the document's id.
  const std::vector<std::string>& paths() const { return paths_; }
  // Whether a statement's says the same: names without regard to case, as SQL has them.
  bool Matches(const PredictedInput& other) const { return Equal(root_, other.root_); }
  std::string ToText() const;     // As SQL; equal inputs have equal texts.
  std::string ShortName() const;  // "a_b_c", "photo.jpg"

  // Of a document; empty where there is nothing to predict from.
  PredictionSource SourceOf(std::string_view body) const;
  bool HasSameSource(std::string_view body, std::string_view other_body) const;

  // Of an image: the attachment that a source names. Invariant: the source is not empty.
  static BlobId ContentOf(std::string_view source);
  const ImageTensorOptions& image_options() const { return image_options_; }

 private:
  enum class Kind { kField, kLiteral, kArray, kObject, kImage };
  struct Part {
    Kind kind = Kind::kField;
    std::string text = {};               // A field's name as SQL has it; a literal as JSON; an attachment's name.
    std::vector<std::string> keys = {};  // Of an object.
    std::vector<Part> parts = {};
    std::string collection = {};  // Of an attachment.
    std::string options = {};     // Of an image; may be empty.
  };
  class Reader;

  static bool Equal(const Part& left, const Part& right);
  static void AppendText(const Part& part, std::string& text);
  Status Finish();  // Fills in what follows from the parts.
  void AppendJson(const Part& part, std::string_view body, std::size_t& next_path, PredictionSource& source) const;

  Part root_;
  std::vector<std::string> paths_;
  ImageTensorOptions image_options_;
};

}  // namespace foreshore
