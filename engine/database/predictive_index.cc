#include "engine/database/predictive_index.h"

#include <algorithm>
#include <charconv>

#include "engine/database/field_entries.h"
#include "engine/database/field_key.h"
#include "engine/document/json_walk.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kIndexVersion = 2;  // 1: the input is a path.
constexpr std::uint8_t kValueVersion = 1;
constexpr std::size_t kOutputBytesMax = 200;
constexpr std::size_t kFailureBytesMax = 200;

// Fills in what follows from name and options.
Status Derive(PredictiveIndexDefinition& index, bool is_expression) {
  const auto named = [&](const Status& status) { return status.WithContext("index \"" + index.name + "\""); };
  const PredictiveIndexOptions& options = index.options;
  if (options.model.empty()) return named(Status::InvalidArgument("no model, expected the name of one"));
  const std::string collection = index.name.substr(0, index.name.size() - options.name.size() - 1);
  auto input = is_expression ? PredictedInput::Parse(collection, options.path) : PredictedInput::OfPath(options.path);
  if (!input.ok()) return named(input.status());
  index.input = std::move(input).value();
  if (is_expression) index.options.path = index.input.ToText();
  auto output = OutputPath::Parse(options.output);
  if (!output.ok()) return named(output.status());
  index.output = std::move(output).value();
  index.options.output = index.output.ToText();
  const std::string adapter = options.adapter.empty() ? "" : ", " + Quoted(options.adapter, '\'');
  index.column = "predict(" + Quoted(options.model, '\'') + ", " + index.input.ToText() + adapter + ") ->> " +
                 Quoted(index.options.output, '\'');
  index.field.id = index.id;
  index.field.collection_id = index.collection_id;
  index.field.name = index.name;
  index.field.options.name = options.name;
  index.field.paths = {{PathOfPrediction(index.column), false}};
  index.field.is_ready = true;  // What is missing is computed by the scan.
  return Status::Ok();
}

}  // namespace

std::string PathOfPrediction(std::string_view column) {
  return kPathSeparator + std::string(column);
}

bool OutputPath::AppendStep(std::string_view& rest) {
  Step step;
  step.is_index = rest.front() == '[';
  rest.remove_prefix(1);
  if (step.is_index) {
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), step.index);
    const auto count = static_cast<std::size_t>(end - rest.data());
    if (error != std::errc() || count >= rest.size() || *end != ']') return false;
    rest.remove_prefix(count + 1);
  } else if (rest.starts_with('"')) {
    const std::size_t end = rest.find('"', 1);
    if (end == std::string_view::npos || end == 1 || rest.substr(0, end).find('\\') != std::string_view::npos) {
      return false;
    }
    step.key = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  } else {
    const std::size_t end = std::min(rest.find_first_of(".["), rest.size());
    if (end == 0) return false;
    step.key = rest.substr(0, end);
    rest.remove_prefix(end);
  }
  steps_.push_back(std::move(step));
  return true;
}

bool OutputPath::Append(std::string_view text) {
  if (!text.starts_with('$')) {
    if (!IsPlainName(text)) return false;
    steps_.push_back({false, 0, std::string(text)});
    return true;
  }
  text.remove_prefix(1);
  while (!text.empty()) {
    if ((text.front() != '.' && text.front() != '[') || !AppendStep(text)) return false;
  }
  return true;
}

Result<OutputPath> OutputPath::Parse(std::string_view text) {
  OutputPath path;
  if (text.size() > kOutputBytesMax || !text.starts_with('$') || !path.Append(text) || path.empty()) {
    return Status::InvalidArgument("output \"" + std::string(text.substr(0, kOutputBytesMax)) +
                                   "\", expected the place of a number in what predict() gives, such as \"$[0][0]\"");
  }
  return path;
}

std::string OutputPath::ToText() const {
  std::string text = "$";
  for (const Step& step : steps_) {
    if (step.is_index) {
      text += "[" + std::to_string(step.index) + "]";
    } else {
      text += IsPlainName(step.key) ? "." + step.key : ".\"" + step.key + "\"";
    }
  }
  return text;
}

std::string_view OutputPath::Find(std::string_view json) const {
  for (const Step& step : steps_) {
    if (step.is_index) {
      if (!json.starts_with('[')) return {};
      std::size_t at = 1;
      for (std::uint64_t i = 0;; ++i) {
        if (at >= json.size() || json[at] == ']') return {};
        const std::size_t end = SkipValueToken(json, at);
        if (i == step.index) {
          json = json.substr(at, end - at);
          break;
        }
        if (end >= json.size() || json[end] != ',') return {};
        at = end + 1;
      }
      continue;
    }
    if (!IsObjectToken(json)) return {};
    std::string key;
    AppendJsonString(key, step.key);
    std::string_view found;
    JsonMembers members(json);
    for (JsonMember member; found.empty() && members.Next(member);) {
      if (member.key == key) found = member.value;
    }
    json = found;
  }
  return json;
}

std::string OutputPath::AsDocumentPath() const {
  std::string path;
  for (const Step& step : steps_) {
    if (step.is_index) return {};
    if (!path.empty()) path += kPathSeparator;
    path += step.key;
  }
  return path;
}

Result<PredictiveIndexDefinition> DefinePredictiveIndex(const std::string& collection,
                                                        const PredictiveIndexOptions& options) {
  PredictiveIndexDefinition index;
  index.options = options;
  const bool is_expression = PredictedInput::IsExpression(options.path);
  if (options.name.empty()) {
    std::string input = options.path;
    if (is_expression) {
      const auto parsed = PredictedInput::Parse(collection, options.path);
      if (!parsed.ok()) return parsed.status().WithContext("predictive index of \"" + collection + "\"");
      input = parsed->ShortName();
    }
    index.options.name = options.model + "_" + input;
  }
  index.name = collection + "." + index.options.name;
  FORESHORE_RETURN_IF_ERROR(CheckIndexName(index.name, index.options.name));
  FORESHORE_RETURN_IF_ERROR(Derive(index, is_expression));
  return index;
}

ByteString EncodePredictiveIndex(const PredictiveIndexDefinition& index) {
  ByteString out;
  AppendFixed(out, kIndexVersion);
  AppendVarint(out, index.id);
  AppendVarint(out, index.collection_id);
  AppendVarint(out, index.storage);
  for (const std::string* text : {&index.name, &index.options.name, &index.options.model, &index.options.adapter,
                                  &index.options.path, &index.options.output}) {
    AppendPrefixed(out, *text);
  }
  AppendPrefixed(out, index.pin.version);
  AppendPrefixed(out, index.pin.adapter_version);
  AppendFixed(out, static_cast<std::uint8_t>(index.input.is_path() ? 0 : 1));
  return out;
}

Result<PredictiveIndexDefinition> DecodePredictiveIndex(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  if (reader.ok() && (version < 1 || version > kIndexVersion)) {
    return Status::Unsupported("catalogue row of a predictive index: version " + std::to_string(version) +
                               ", expected 1 or 2");
  }
  PredictiveIndexDefinition index;
  index.id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  index.collection_id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  index.storage = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  for (std::string* text : {&index.name, &index.options.name, &index.options.model, &index.options.adapter,
                            &index.options.path, &index.options.output}) {
    *text = reader.Prefixed();
  }
  index.pin.model = index.options.model;
  index.pin.adapter = index.options.adapter;
  index.pin.version = reader.Prefixed();
  index.pin.adapter_version = reader.Prefixed();
  const auto input_kind = version > 1 ? reader.Fixed<std::uint8_t>() : std::uint8_t{0};
  if (!reader.ok() || !reader.at_end() || input_kind > 1 || index.name.size() <= index.options.name.size()) {
    return Status::Corruption("catalogue row of a predictive index: " + std::to_string(bytes.size()) +
                              " bytes do not follow the format");
  }
  if (const Status status = Derive(index, input_kind == 1); !status.ok()) {
    return Status::Corruption("catalogue row of a predictive index: " + status.message());
  }
  return index;
}

ByteString PredictedValue::Encode() const {
  ByteString out;
  AppendFixed(out, kValueVersion);
  AppendFixed(out, static_cast<std::uint8_t>(kind));
  return out + text;
}

Result<PredictedValue> PredictedValue::Decode(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  const auto kind = reader.Fixed<std::uint8_t>();
  if (reader.ok() && version != kValueVersion) {
    return Status::Unsupported("predicted value: version " + std::to_string(version) + ", expected 1");
  }
  PredictedValue value;
  if (reader.ok()) {
    value.kind = static_cast<Kind>(kind);
    value.text = bytes.substr(2);
  }
  const bool is_number = value.text.find_first_not_of("0123456789+-.eE") == std::string::npos && !value.text.empty();
  if (!reader.ok() || kind > 2 || (value.kind == Kind::kNumber && !is_number)) {
    return Status::Corruption("predicted value: " + std::to_string(bytes.size()) + " bytes do not follow the format");
  }
  return value;
}

ByteString PredictedValue::Key(std::int64_t docid, ByteString& marks) const {
  ByteString key;
  std::string buffer;
  FieldMark mark = AppendTokenKey(key, token(), buffer);
  if (kind == Kind::kFailed) mark = FieldMark::kFailed;
  AppendDocidKey(key, docid);
  marks.clear();
  if (mark != FieldMark::kPlain) marks.push_back(static_cast<char>(mark));
  return key;
}

PredictedValue PredictedValue::Failed(std::string_view why) {
  return {Kind::kFailed, std::string(why.substr(0, kFailureBytesMax))};
}

PredictedValue ValueOf(const PredictiveIndexDefinition& index, const PredictionSource& source,
                       const Result<std::string>& prediction) {
  if (!prediction.ok())
    return source.has_gaps ? PredictedValue() : PredictedValue::Failed(prediction.status().message());
  const std::string_view token = index.output.Find(*prediction);
  const std::string where = "model \"" + index.options.model + "\": output at \"" + index.options.output + "\" is ";
  if (token.empty()) return PredictedValue::Failed(where + "nothing, expected a number");
  if (token == "null") return {};
  if (token.front() != '-' && (token.front() < '0' || token.front() > '9')) {
    return PredictedValue::Failed(where + (token.front() == '[' ? "a list" : "no number") + ", expected a number");
  }
  return {PredictedValue::Kind::kNumber, std::string(token)};
}

std::string InputOfToken(std::string_view token, bool takes_text) {
  if (token.empty() || token == "null") return {};
  if (token.front() != '"' || takes_text) return std::string(token);
  auto text = UnescapeString(token);
  return text.ok() ? std::move(text).value() : std::string(token);
}

}  // namespace foreshore
