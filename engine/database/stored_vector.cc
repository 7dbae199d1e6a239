#include "engine/database/stored_vector.h"

#include <charconv>
#include <cmath>

#include "engine/document/json.h"
#include "index/quantizer.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kFlagFromModel = 1;

}  // namespace

ByteString EncodeStoredVector(const StoredVector& vector) {
  ByteString out;
  out.reserve(18 + vector.record.size());
  AppendFixed(out, kVersion);
  AppendFixed(out, static_cast<std::uint8_t>(vector.is_from_model ? kFlagFromModel : 0));
  AppendFixed(out, vector.source_hash);
  AppendFixed(out, vector.model_tag);
  out.append(vector.record);
  return out;
}

Result<StoredVector> DecodeStoredVector(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  const auto flags = reader.Fixed<std::uint8_t>();
  StoredVector vector;
  vector.is_from_model = (flags & kFlagFromModel) != 0;
  vector.source_hash = reader.Fixed<std::uint64_t>();
  vector.model_tag = reader.Fixed<std::uint64_t>();
  vector.record = reader.Rest();
  if (!reader.ok()) {
    return Status::Corruption("stored vector: " + std::to_string(bytes.size()) + " bytes, expected at least 18");
  }
  if (version != kVersion || (flags & ~kFlagFromModel) != 0) {
    return Status::Unsupported("stored vector: version " + std::to_string(version) + " and flags " +
                               std::to_string(flags) + ", expected version 1");
  }
  return vector;
}

std::uint64_t ModelTagOf(std::string_view version_hex) {
  const auto bytes = FromHex(version_hex.substr(0, 16));
  return bytes && bytes->size() == 8 ? LoadFixed<std::uint64_t>(bytes->data()) : 0;
}

std::string SourceTextOf(const VectorIndexDefinition& index, std::string_view body) {
  std::string text;
  for (const std::string& path : index.paths) {
    const std::string_view token = FindValue(body, path);
    if (token.empty() || token == "null") continue;
    if (!text.empty()) text.push_back('\n');
    if (token.front() == '"') {
      // A token of a stored body is valid; were it not, its raw form is the best there is.
      auto unescaped = UnescapeString(token);
      text += unescaped.ok() ? *unescaped : std::string(token);
    } else {
      text += token;
    }
  }
  return text;
}

Result<std::vector<float>> ParseVectorArray(std::string_view token, const VectorIndexDefinition& index) {
  const auto refuse = [&](const std::string& found) {
    return Status::InvalidArgument("vector index \"" + index.name + "\": " + found + ", expected an array of " +
                                   std::to_string(index.options.dimension) + " numbers");
  };
  if (token.size() < 2 || token.front() != '[') return refuse("value is not an array");
  std::vector<float> values;
  values.reserve(index.options.dimension);
  const char* cursor = token.data() + 1;
  const char* const end = token.data() + token.size() - 1;
  while (cursor < end) {
    double value = 0;
    const auto [next, error] = std::from_chars(cursor, end, value);
    // from_chars reports out of range for what no double holds; such a number is no coordinate.
    if (error != std::errc() || !std::isfinite(static_cast<float>(value))) {
      return refuse("element " + std::to_string(values.size()) + " is not a finite number");
    }
    values.push_back(static_cast<float>(value));
    if (values.size() > index.options.dimension) break;
    cursor = next;
    if (cursor < end && *cursor == ',') ++cursor;
  }
  if (values.size() != index.options.dimension) {
    return refuse("array has " + std::string(values.size() > index.options.dimension ? "more than " : "") +
                  std::to_string(std::min<std::size_t>(values.size(), index.options.dimension)) + " elements");
  }
  return values;
}

}  // namespace foreshore
