#include "bindings/cli/json_member.h"

#include <simdjson.h>

#include "bindings/json/json_writer.h"

namespace foreshore::cli {
namespace {

constexpr std::string_view kBodyName = "\"$body\"";

bool IsSpace(char character) {
  return character == ' ' || character == '\t' || character == '\r' || character == '\n';
}

std::string Shorten(std::string_view text) {
  constexpr std::size_t kShown = 40;
  return text.size() <= kShown ? std::string(text) : std::string(text.substr(0, kShown)) + "…";
}

// Walks one object's punctuation.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  void SkipSpace() {
    while (position_ < text_.size() && IsSpace(text_[position_])) ++position_;
  }
  bool Take(char wanted) {
    SkipSpace();
    if (position_ >= text_.size() || text_[position_] != wanted) return false;
    ++position_;
    return true;
  }
  bool AtEnd() {
    SkipSpace();
    return position_ == text_.size();
  }
  Status Expected(std::string_view wanted) const {
    const std::string found = position_ < text_.size() ? "\"" + Shorten(text_.substr(position_)) + "\"" : "the end";
    return Status::InvalidArgument("json: found " + found + " at byte " + std::to_string(position_) + ", expected " +
                                   std::string(wanted));
  }

  Result<std::string_view> String() {
    SkipSpace();
    const std::size_t start = position_;
    if (position_ >= text_.size() || text_[position_] != '"') return Expected("a string");
    for (++position_; position_ < text_.size(); ++position_) {
      if (text_[position_] == '\\') {
        ++position_;
      } else if (text_[position_] == '"') {
        ++position_;
        return text_.substr(start, position_ - start);
      }
    }
    position_ = start;
    return Status::InvalidArgument("json: string at byte " + std::to_string(start) + " has no end");
  }

  // Up to the comma or brace that ends the member.
  Result<std::string_view> Value() {
    SkipSpace();
    const std::size_t start = position_;
    int depth = 0;
    while (position_ < text_.size()) {
      const char character = text_[position_];
      if (character == '"') {
        FORESHORE_ASSIGN_OR_RETURN(const std::string_view ignored, String());
        (void)ignored;
        continue;
      }
      if (depth == 0 && (character == ',' || character == '}' || character == ']')) break;
      if (character == '{' || character == '[') ++depth;
      if (character == '}' || character == ']') --depth;
      ++position_;
    }
    std::size_t end = position_;
    while (end > start && IsSpace(text_[end - 1])) --end;
    if (end == start) return Expected("a value");
    return text_.substr(start, end - start);
  }

 private:
  std::string_view text_;
  std::size_t position_ = 0;
};

Result<std::string> IdText(std::string_view value, std::string_view id_field) {
  if (value.front() == '"') return DecodeJsonString(value);
  const bool is_integer = value.find_first_not_of("0123456789", value.front() == '-' ? 1 : 0) == std::string_view::npos;
  if (is_integer) return std::string(value);
  return Status::InvalidArgument("id field \"" + std::string(id_field) + "\" is " + Shorten(value) +
                                 ", expected a string or integer");
}

}  // namespace

Result<std::vector<JsonMember>> TopLevelMembers(std::string_view json) {
  Scanner scanner(json);
  if (!scanner.Take('{')) return scanner.Expected("an object");
  std::vector<JsonMember> members;
  if (!scanner.Take('}')) {
    do {
      FORESHORE_ASSIGN_OR_RETURN(const std::string_view name, scanner.String());
      if (!scanner.Take(':')) return scanner.Expected("a colon");
      FORESHORE_ASSIGN_OR_RETURN(const std::string_view value, scanner.Value());
      members.push_back({name, value});
    } while (scanner.Take(','));
    if (!scanner.Take('}')) return scanner.Expected("a comma or closing brace");
  }
  if (!scanner.AtEnd()) return scanner.Expected("the end of the line");
  return members;
}

Result<std::string> DecodeJsonString(std::string_view token) {
  if (token.find('\\') == std::string_view::npos) {
    if (token.size() >= 2 && token.front() == '"' && token.find('"', 1) == token.size() - 1) {
      return std::string(token.substr(1, token.size() - 2));
    }
    return Status::InvalidArgument("json: found " + Shorten(token) + ", expected one string");
  }
  simdjson::dom::parser parser;
  std::string_view text;
  if (parser.parse(token.data(), token.size()).get(text) != simdjson::SUCCESS) {
    return Status::InvalidArgument("json: string " + Shorten(token) + " has a broken escape or character");
  }
  return std::string(text);
}

Result<ImportDocument> ParseImportLine(std::string_view line, std::string_view id_field) {
  FORESHORE_ASSIGN_OR_RETURN(const auto members, TopLevelMembers(line));
  ImportDocument document;
  const bool takes_id_out = id_field == "id";
  std::string_view whole_body;
  std::string body = "{";
  for (const JsonMember& member : members) {
    FORESHORE_ASSIGN_OR_RETURN(const std::string name, DecodeJsonString(member.name));
    if (name == id_field) {
      if (document.id.has_value()) return Status::InvalidArgument("id field \"" + name + "\" is there twice");
      FORESHORE_ASSIGN_OR_RETURN(document.id, IdText(member.value, id_field));
      if (takes_id_out) continue;
    }
    if (member.name == kBodyName) whole_body = member.value;
    if (body.size() > 1) body += ',';
    body += member.name;
    body += ':';
    body += member.value;
  }
  const bool is_wrapped = takes_id_out && document.id.has_value() && members.size() == 2 && !whole_body.empty();
  document.body = is_wrapped ? std::string(whole_body) : body + "}";
  return document;
}

Result<std::string> FormatExportLine(std::string_view id, std::string_view body) {
  FORESHORE_ASSIGN_OR_RETURN(const auto members, TopLevelMembers(body));
  bool needs_wrapping = members.size() == 1 && members[0].name == kBodyName;
  for (const JsonMember& member : members) needs_wrapping = needs_wrapping || member.name == "\"id\"";
  std::string line = "{\"id\":" + JsonString(id);
  if (needs_wrapping) {
    line += ",\"$body\":";
    line += body;
    return line + "}";
  }
  for (const JsonMember& member : members) {
    line += ',';
    line += member.name;
    line += ':';
    line += member.value;
  }
  return line + "}";
}

}  // namespace foreshore::cli
