#include "engine/database/field_predicate.h"

#include <algorithm>
#include <cctype>

#include "engine/database/field_key.h"
#include "engine/document/json.h"
#include "engine/document/json_number.h"

namespace foreshore {
namespace {

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

bool IsNameCharacter(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || c == '_' || c == '.' || c == '$' || byte >= 0x80;
}

class PredicateParser {
 public:
  explicit PredicateParser(std::string_view text) : text_(text) {}

  Result<std::vector<FieldTerm>> Parse() {
    std::vector<FieldTerm> terms;
    do {
      FORESHORE_ASSIGN_OR_RETURN(FieldTerm term, ParseTerm());
      terms.push_back(std::move(term));
      if (terms.size() > kFieldTermCountMax) {
        return Status::Limit("index predicate: more than " + std::to_string(kFieldTermCountMax) + " terms");
      }
    } while (TakeWord("AND"));
    SkipSpace();
    if (at_ != text_.size()) return Refuse("AND or the end");
    return terms;
  }

 private:
  Status Refuse(const std::string& expected) const {
    const std::string_view found = text_.substr(std::min(at_, text_.size()), 24);
    return Status::InvalidArgument("index predicate: found " +
                                   (found.empty() ? "the end" : "\"" + std::string(found) + "\"") + " at byte " +
                                   std::to_string(at_) + ", expected " + expected);
  }
  void SkipSpace() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  bool TakeWord(std::string_view word) {
    SkipSpace();
    std::size_t end = at_;
    while (end < text_.size() && IsNameCharacter(text_[end])) ++end;
    if (!EqualsIgnoringCase(text_.substr(at_, end - at_), word)) return false;
    at_ = end;
    return true;
  }
  bool TakeMark(std::string_view mark) {
    SkipSpace();
    if (!text_.substr(at_).starts_with(mark)) return false;
    at_ += mark.size();
    return true;
  }
  // What stands between two `quote`s, where a doubled one is one; nullopt where no quote begins or none ends it.
  std::optional<std::string> TakeQuoted(char quote) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != quote) return std::nullopt;
    std::string inside;
    for (std::size_t i = at_ + 1; i < text_.size(); ++i) {
      if (text_[i] == quote) {
        if (i + 1 >= text_.size() || text_[i + 1] != quote) {
          at_ = i + 1;
          return inside;
        }
        ++i;
      }
      inside += text_[i];
    }
    return std::nullopt;
  }

  Result<std::string> ParsePathName() {
    if (auto quoted = TakeQuoted('"')) return ParsePath(*quoted);
    std::size_t end = at_;
    while (end < text_.size() && IsNameCharacter(text_[end])) ++end;
    if (end == at_ || std::isdigit(static_cast<unsigned char>(text_[at_])) != 0) return Refuse("a path");
    const std::string_view name = text_.substr(at_, end - at_);
    at_ = end;
    return ParsePath(name);
  }

  Status ParseLiteral(ByteString& key) {
    if (TakeWord("TRUE")) {
      AppendIntegerKey(key, 1);
      return Status::Ok();
    }
    if (TakeWord("FALSE")) {
      AppendIntegerKey(key, 0);
      return Status::Ok();
    }
    if (const auto text = TakeQuoted('\'')) {
      if (text->size() > kIndexedTextBytesMax) {
        return Status::Limit("index predicate: a text of " + std::to_string(text->size()) + " bytes, at most " +
                             std::to_string(kIndexedTextBytesMax) + " are compared");
      }
      AppendTextKey(key, *text);
      return Status::Ok();
    }
    std::size_t end = at_;
    while (end < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[end])) != 0 || text_[end] == '.' ||
                                  ((text_[end] == '-' || text_[end] == '+') &&
                                   (end == at_ || std::tolower(static_cast<unsigned char>(text_[end - 1])) == 'e')))) {
      ++end;
    }
    const auto token = NormaliseValue(text_.substr(at_, end - at_));
    const bool is_number = token.ok() && !token->empty() &&
                           (token->front() == '-' || std::isdigit(static_cast<unsigned char>(token->front())) != 0);
    if (!is_number) return Refuse("a number, a 'text', TRUE or FALSE");
    at_ = end;
    const JsonNumber number = ParseJsonNumber(*token);
    number.is_integer ? AppendIntegerKey(key, number.integer) : AppendRealKey(key, number.real);
    return Status::Ok();
  }

  Result<FieldTerm> ParseTerm() {
    static constexpr std::pair<std::string_view, FieldTermKind> kMarks[] = {
        {"<=", FieldTermKind::kLessOrEqual}, {">=", FieldTermKind::kGreaterOrEqual}, {"<>", FieldTermKind::kNotEqual},
        {"!=", FieldTermKind::kNotEqual},    {"==", FieldTermKind::kEqual},          {"=", FieldTermKind::kEqual},
        {"<", FieldTermKind::kLess},         {">", FieldTermKind::kGreater}};
    FieldTerm term;
    SkipSpace();
    FORESHORE_ASSIGN_OR_RETURN(term.path, ParsePathName());
    if (TakeWord("IS")) {
      term.kind = TakeWord("NOT") ? FieldTermKind::kIsNotNull : FieldTermKind::kIsNull;
      if (!TakeWord("NULL")) return Refuse("NULL");
      return term;
    }
    for (const auto& [mark, kind] : kMarks) {
      if (!TakeMark(mark)) continue;
      term.kind = kind;
      SkipSpace();
      FORESHORE_RETURN_IF_ERROR(ParseLiteral(term.literal_key));
      return term;
    }
    return Refuse("a comparison or IS [NOT] NULL");
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

bool FieldTerm::Holds(Bytes value_key) const {
  const bool is_null = value_key.empty() || value_key.front() == kNullTag;
  if (kind == FieldTermKind::kIsNull) return is_null;
  if (is_null) return false;
  if (kind == FieldTermKind::kIsNotNull) return true;
  Bytes rest = value_key;
  SkipKeyValue(rest);
  const int order = value_key.substr(0, value_key.size() - rest.size()).compare(literal_key);
  switch (kind) {
    case FieldTermKind::kEqual: return order == 0;
    case FieldTermKind::kNotEqual: return order != 0;
    case FieldTermKind::kLess: return order < 0;
    case FieldTermKind::kLessOrEqual: return order <= 0;
    case FieldTermKind::kGreater: return order > 0;
    default: return order >= 0;
  }
}

bool FieldTerm::IsImpliedBy(FieldTermKind other, Bytes other_literal_key) const {
  using Kind = FieldTermKind;
  if (other == Kind::kIsNull) return kind == Kind::kIsNull;
  if (kind == Kind::kIsNull) return false;
  if (kind == Kind::kIsNotNull) return true;  // Every other term refuses NULL.
  if (other == Kind::kIsNotNull) return false;
  if (other == Kind::kEqual) return Holds(other_literal_key);
  const int order = other_literal_key.compare(literal_key);
  switch (kind) {
    case Kind::kEqual: return false;
    case Kind::kNotEqual:
      return (other == Kind::kNotEqual && order == 0) || (other == Kind::kLess && order <= 0) ||
             (other == Kind::kLessOrEqual && order < 0) || (other == Kind::kGreater && order >= 0) ||
             (other == Kind::kGreaterOrEqual && order > 0);
    case Kind::kLess: return (other == Kind::kLess && order <= 0) || (other == Kind::kLessOrEqual && order < 0);
    case Kind::kLessOrEqual: return (other == Kind::kLess || other == Kind::kLessOrEqual) && order <= 0;
    case Kind::kGreater:
      return (other == Kind::kGreater && order >= 0) || (other == Kind::kGreaterOrEqual && order > 0);
    default: return (other == Kind::kGreater || other == Kind::kGreaterOrEqual) && order >= 0;
  }
}

Result<std::vector<FieldTerm>> ParseFieldPredicate(std::string_view text) {
  return PredicateParser(text).Parse();
}

}  // namespace foreshore
