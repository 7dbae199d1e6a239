#include "engine/database/predicted_input.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>

#include "engine/database/attachments.h"
#include "engine/document/json.h"
#include "engine/document/json_number.h"
#include "engine/document/json_walk.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::string_view kArray = "json_array";
constexpr std::string_view kObject = "json_object";
constexpr std::string_view kImage = "image_tensor";
constexpr std::size_t kTextBytesMax = 4096;
constexpr std::size_t kPartsMax = 100;  // SQLite's functions take so many arguments, whatever it was built with.
constexpr int kDepthMax = 8;

std::string SqlName(std::string_view name) {
  return IsPlainName(name) ? std::string(name) : Quoted(name, '"');
}

// A value as json_array() and json_object() write what the column has: booleans are numbers, reals have 15 digits.
void AppendColumnJson(std::string_view token, PredictionSource& source) {
  std::string& out = source.text;
  if (token.empty() || token == "null") {
    source.has_gaps = true;
    out += "null";
  } else if (token == "true") {
    out += '1';
  } else if (token == "false") {
    out += '0';
  } else if (token.front() == '"' || token.front() == '[' || token.front() == '{') {
    out += token;
  } else if (const JsonNumber number = ParseJsonNumber(token); number.is_integer) {
    out += std::to_string(number.integer);
  } else {
    std::array<char, 64> digits;
    out += sqlite3_snprintf(static_cast<int>(digits.size()), digits.data(), "%!.15g", number.real);
  }
}

}  // namespace

bool IsPlainName(std::string_view name) {
  return !name.empty() && (name[0] < '0' || name[0] > '9') && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string Quoted(std::string_view text, char quote) {
  std::string quoted(1, quote);
  for (const char c : text) quoted.append(c == quote ? 2 : 1, c);
  return quoted + quote;
}

// One call, of a statement or of an index's definition, in which a dotted path is a column's name.
class PredictedInput::Reader {
 public:
  Reader(std::string_view sql, std::span<const SqlToken> tokens, std::size_t at, bool is_definition)
      : sql_(sql), tokens_(tokens), at_(at), is_definition_(is_definition) {}

  std::size_t at() const { return at_; }
  const std::string& qualifier() const { return qualifier_; }

  bool ReadCall(Part& part, int depth = 0) {
    if (depth > kDepthMax || !IsOther(at_ + 1, "(")) return false;
    if (TakeWord(kArray)) {
      part.kind = Kind::kArray;
      return ReadArray(part, depth);
    }
    if (TakeWord(kObject)) {
      part.kind = Kind::kObject;
      return ReadObject(part, depth);
    }
    if (depth > 0 || !TakeWord(kImage)) return false;
    part.kind = Kind::kImage;
    return ReadImage(part);
  }

 private:
  bool IsOther(std::size_t i, std::string_view text) const {
    return i < tokens_.size() && tokens_[i].kind == SqlTokenKind::kOther && tokens_[i].name == text;
  }
  bool TakeOther(std::string_view text) {
    if (!IsOther(at_, text)) return false;
    ++at_;
    return true;
  }
  bool IsWord(std::string_view word) const {
    return at_ < tokens_.size() && tokens_[at_].kind == SqlTokenKind::kWord &&
           EqualsIgnoringCase(tokens_[at_].name, word);
  }
  bool TakeWord(std::string_view word) {
    if (!IsWord(word)) return false;
    ++at_;
    return true;
  }
  const std::string* TakeString() {
    if (at_ >= tokens_.size() || tokens_[at_].kind != SqlTokenKind::kString) return nullptr;
    return &tokens_[at_++].name;
  }
  bool IsName(std::size_t i) const {
    return i < tokens_.size() &&
           (tokens_[i].kind == SqlTokenKind::kWord || tokens_[i].kind == SqlTokenKind::kQuotedName);
  }

  bool ReadArray(Part& part, int depth) {
    if (!TakeOther("(")) return false;
    do {
      if (part.parts.size() == kPartsMax || !ReadValue(part.parts.emplace_back(), depth)) return false;
    } while (TakeOther(","));
    return TakeOther(")");
  }

  bool ReadObject(Part& part, int depth) {
    if (!TakeOther("(")) return false;
    do {
      const std::string* key = TakeString();
      if (key == nullptr || part.keys.size() == kPartsMax / 2 || !TakeOther(",")) return false;
      if (std::find(part.keys.begin(), part.keys.end(), *key) != part.keys.end()) return false;
      part.keys.push_back(*key);
      if (!ReadValue(part.parts.emplace_back(), depth)) return false;
    } while (TakeOther(","));
    return TakeOther(")");
  }

  bool ReadImage(Part& part) {
    if (!TakeOther("(") || !TakeWord("attachment") || !TakeOther("(")) return false;
    const std::string* collection = TakeString();
    Part id;
    if (collection == nullptr || !TakeOther(",") || !ReadField(id) || !EqualsIgnoringCase(id.text, "id")) return false;
    if (!TakeOther(",")) return false;
    const std::string* name = TakeString();
    if (name == nullptr || !TakeOther(")")) return false;
    part.collection = *collection;
    part.text = *name;
    if (TakeOther(",")) {
      const std::string* options = TakeString();
      if (options == nullptr) return false;
      auto normal = NormaliseValue(*options);
      part.options = normal.ok() ? std::move(normal).value() : *options;
    }
    return TakeOther(")");
  }

  bool ReadValue(Part& part, int depth) {
    if (at_ >= tokens_.size()) return false;
    const SqlToken& token = tokens_[at_];
    const bool is_negative = IsOther(at_, "-");
    part.kind = Kind::kLiteral;
    if (const std::string* text = TakeString()) {
      AppendJsonString(part.text, *text);
      return true;
    }
    if (is_negative || token.kind == SqlTokenKind::kNumber) {
      if (is_negative) ++at_;
      if (at_ >= tokens_.size() || tokens_[at_].kind != SqlTokenKind::kNumber) return false;
      // As JSON writes numbers: 1e+5 is more than one token.
      auto number = NormaliseValue((is_negative ? "-" : "") + tokens_[at_++].name);
      if (!number.ok()) return false;
      part.text = std::move(number).value();
      return true;
    }
    if (!IsOther(at_ + 1, ".") && TakeWord("NULL")) {
      part.text = "null";
      return true;
    }
    if (IsOther(at_ + 1, "(")) return ReadCall(part, depth + 1);
    part.kind = Kind::kField;
    return ReadField(part);
  }

  bool ReadField(Part& part) {
    if (!IsName(at_)) return false;
    if (is_definition_) {
      part.text = tokens_[at_++].name;
      while (IsOther(at_, ".") && IsName(at_ + 1)) {
        part.text += "." + tokens_[at_ + 1].name;
        at_ += 2;
      }
      return true;
    }
    std::string qualifier;
    if (IsOther(at_ + 1, ".")) {
      if (!IsName(at_ + 2)) return false;
      qualifier = std::string(sql_.substr(tokens_[at_].start, tokens_[at_].end - tokens_[at_].start)) + ".";
      at_ += 2;
    }
    part.text = tokens_[at_++].name;
    if (has_field_ && qualifier != qualifier_) return false;
    has_field_ = true;
    qualifier_ = std::move(qualifier);
    return true;
  }

  std::string_view sql_;
  std::span<const SqlToken> tokens_;
  std::size_t at_;
  bool is_definition_;
  bool has_field_ = false;
  std::string qualifier_;
};

bool PredictedInput::IsExpression(std::string_view text) {
  const std::vector<SqlToken> tokens = TokenizeSql(text);
  if (tokens.size() < 2 || tokens[0].kind != SqlTokenKind::kWord || tokens[1].name != "(") return false;
  return EqualsIgnoringCase(tokens[0].name, kArray) || EqualsIgnoringCase(tokens[0].name, kObject) ||
         EqualsIgnoringCase(tokens[0].name, kImage);
}

Result<PredictedInput> PredictedInput::OfPath(std::string_view dotted) {
  PredictedInput input;
  FORESHORE_ASSIGN_OR_RETURN(const std::string path, ParsePath(dotted));
  if (path == "id" || path == "body") {
    return Status::InvalidArgument("path \"" + std::string(dotted) + "\" is a column of its own, expected a field");
  }
  input.root_.text = PathForPeople(path);
  input.paths_.push_back(path);
  return input;
}

Result<PredictedInput> PredictedInput::Parse(const std::string& collection, std::string_view text) {
  const std::string what = "input \"" + std::string(text.substr(0, 200)) + "\"";
  if (text.size() > kTextBytesMax) {
    return Status::Limit(what + " … has " + std::to_string(text.size()) + " bytes, expected at most " +
                         std::to_string(kTextBytesMax));
  }
  const std::vector<SqlToken> tokens = TokenizeSql(text);
  PredictedInput input;
  Reader reader(text, tokens, 0, true);
  const bool is_closed = std::all_of(tokens.begin(), tokens.end(), [](const SqlToken& each) { return each.is_closed; });
  if (!is_closed || !reader.ReadCall(input.root_) || reader.at() != tokens.size()) {
    return Status::InvalidArgument(what +
                                   ", expected json_array() or json_object() of fields, numbers and texts, or "
                                   "image_tensor(attachment('" +
                                   collection + "', id, 'NAME')[, 'OPTIONS'])");
  }
  if (input.is_image() && input.root_.collection != collection) {
    return Status::InvalidArgument(what + " is of attachments of \"" + input.root_.collection + "\", expected \"" +
                                   collection + "\"");
  }
  if (const Status status = input.Finish(); !status.ok()) return status.WithContext(what);
  if (input.paths_.empty()) return Status::InvalidArgument(what + " names no field");
  return input;
}

std::optional<PredictedInput> PredictedInput::Read(std::string_view sql, std::span<const SqlToken> tokens,
                                                   std::size_t& at, std::string& qualifier) {
  PredictedInput input;
  Reader reader(sql, tokens, at, false);
  if (!reader.ReadCall(input.root_)) return std::nullopt;
  at = reader.at();
  qualifier = reader.qualifier();
  return input;
}

Status PredictedInput::Finish() {
  if (is_image()) {
    paths_ = {"id"};
    if (root_.options.empty()) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(image_options_, ParseImageTensorOptions(root_.options));
    return Status::Ok();
  }
  const auto visit = [&](const auto& self, Part& part) -> Status {
    if (part.kind == Kind::kField) {
      FORESHORE_ASSIGN_OR_RETURN(const PredictedInput field, OfPath(part.text));
      part.text = field.root_.text;
      paths_.push_back(field.paths_[0]);
    }
    for (Part& each : part.parts) FORESHORE_RETURN_IF_ERROR(self(self, each));
    return Status::Ok();
  };
  return visit(visit, root_);
}

bool PredictedInput::Equal(const Part& left, const Part& right) {
  if (left.kind != right.kind || left.keys != right.keys || left.parts.size() != right.parts.size() ||
      left.collection != right.collection || left.options != right.options) {
    return false;
  }
  if (left.kind == Kind::kField ? !EqualsIgnoringCase(left.text, right.text) : left.text != right.text) return false;
  return std::equal(left.parts.begin(), left.parts.end(), right.parts.begin(), Equal);
}

void PredictedInput::AppendText(const Part& part, std::string& text) {
  switch (part.kind) {
    case Kind::kField: text += SqlName(part.text); return;
    case Kind::kLiteral:
      if (part.text.front() == '"') {
        std::string unescaped;
        AppendUnescaped(unescaped, part.text);
        text += Quoted(unescaped, '\'');
      } else {
        text += part.text == "null" ? "NULL" : part.text;
      }
      return;
    case Kind::kImage:
      text += std::string(kImage) + "(attachment(" + Quoted(part.collection, '\'') + ", id, " +
              Quoted(part.text, '\'') + ")" + (part.options.empty() ? "" : ", " + Quoted(part.options, '\'')) + ")";
      return;
    case Kind::kArray:
    case Kind::kObject: break;
  }
  text += part.kind == Kind::kArray ? kArray : kObject;
  for (std::size_t i = 0; i < part.parts.size(); ++i) {
    text += i == 0 ? "(" : ", ";
    if (part.kind == Kind::kObject) text += Quoted(part.keys[i], '\'') + ", ";
    AppendText(part.parts[i], text);
  }
  text += ")";
}

std::string PredictedInput::ToText() const {
  std::string text;
  AppendText(root_, text);
  return text;
}

std::string PredictedInput::ShortName() const {
  if (is_image()) return root_.text;
  std::string name;
  for (const std::string& path : paths_) name += (name.empty() ? "" : "_") + PathForPeople(path);
  return name;
}

void PredictedInput::AppendJson(const Part& part, std::string_view body, std::size_t& next_path,
                                PredictionSource& source) const {
  if (part.kind == Kind::kField) return AppendColumnJson(FindValue(body, paths_[next_path++]), source);
  if (part.kind == Kind::kLiteral) {
    if (part.text.front() == '"' || part.text == "null") {
      source.text += part.text;
    } else {
      AppendColumnJson(part.text, source);
    }
    return;
  }
  const bool is_object = part.kind == Kind::kObject;
  source.text += is_object ? '{' : '[';
  for (std::size_t i = 0; i < part.parts.size(); ++i) {
    if (i > 0) source.text += ',';
    if (is_object) {
      AppendJsonString(source.text, part.keys[i]);
      source.text += ':';
    }
    AppendJson(part.parts[i], body, next_path, source);
  }
  source.text += is_object ? '}' : ']';
}

PredictionSource PredictedInput::SourceOf(std::string_view body) const {
  PredictionSource source;
  if (body.empty()) return source;
  if (is_path()) {
    source.text = FindValue(body, paths_[0]);
  } else if (is_image()) {
    for (const AttachmentInfo& info : AttachmentsOf(body)) {
      if (info.name == root_.text) source.text = info.sha256;
    }
  } else {
    std::size_t next_path = 0;
    AppendJson(root_, body, next_path, source);
  }
  return source;
}

bool PredictedInput::HasSameSource(std::string_view body, std::string_view other_body) const {
  if (is_image()) return SourceOf(body).text == SourceOf(other_body).text;
  return std::all_of(paths_.begin(), paths_.end(),
                     [&](const std::string& path) { return FindValue(body, path) == FindValue(other_body, path); });
}

BlobId PredictedInput::ContentOf(std::string_view source) {
  BlobId id{};
  const auto bytes = FromHex(source);
  if (bytes && bytes->size() == id.size()) std::copy(bytes->begin(), bytes->end(), id.begin());
  return id;
}

}  // namespace foreshore
