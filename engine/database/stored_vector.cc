#include "engine/database/stored_vector.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "engine/document/json.h"
#include "index/quantizer.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kVersionWithSource = 2;  // Also says when it was made, and of which revision.
constexpr std::uint8_t kFlagFromModel = 1;
constexpr std::uint8_t kFlagSeveral = 2;

Status Refuse(const VectorIndexDefinition& index, const std::string& found) {
  const std::string dimension = std::to_string(index.options.dimension);
  return Status::InvalidArgument("vector index \"" + index.name + "\": " + found + ", expected an array of " +
                                 dimension + " numbers, or of 1 to " + std::to_string(kVectorsPerDocumentMax) +
                                 " such arrays");
}

// Reads the numbers of one array up to its end, and returns what stands behind it. `text` begins behind the bracket.
// `which` says in messages which of several arrays it is.
Result<const char*> ParseNumbers(const char* text, const char* end, const VectorIndexDefinition& index,
                                 const std::string& which, std::vector<float>& values) {
  values.clear();
  while (text < end && *text != ']') {
    double value = 0;
    const auto [next, error] = std::from_chars(text, end, value);
    // from_chars reports out of range for what no double holds; such a number is no coordinate.
    if (error != std::errc() || !std::isfinite(static_cast<float>(value))) {
      return Refuse(index, which + "element " + std::to_string(values.size()) + " is not a finite number");
    }
    values.push_back(static_cast<float>(value));
    if (values.size() > index.options.dimension) break;
    text = next;
    if (text < end && *text == ',') ++text;
  }
  if (values.size() != index.options.dimension) {
    return Refuse(index, which + "array has " + (values.size() > index.options.dimension ? "more than " : "") +
                             std::to_string(std::min<std::size_t>(values.size(), index.options.dimension)) +
                             " elements");
  }
  return text + 1;
}

}  // namespace

ByteString EncodeStoredVector(const StoredVector& vector) {
  ByteString out;
  out.reserve(36 + vector.records.size() * vector.records[0].size());
  const bool is_several = vector.records.size() > 1;
  AppendFixed(out, vector.is_from_model ? kVersionWithSource : kVersion);
  AppendFixed(out,
              static_cast<std::uint8_t>((vector.is_from_model ? kFlagFromModel : 0) | (is_several ? kFlagSeveral : 0)));
  AppendFixed(out, vector.source_hash);
  AppendFixed(out, vector.model_tag);
  if (vector.is_from_model) {
    AppendFixed(out, vector.made_unix_ms);
    AppendFixed(out, vector.document_revision);
  }
  if (is_several) AppendFixed(out, static_cast<std::uint16_t>(vector.records.size()));
  for (const Bytes record : vector.records) out.append(record);
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
  if (version == kVersionWithSource) {
    vector.made_unix_ms = reader.Fixed<std::int64_t>();
    vector.document_revision = reader.Fixed<std::uint64_t>();
  }
  if (!reader.ok()) {
    return Status::Corruption("stored vector: " + std::to_string(bytes.size()) + " bytes, expected at least " +
                              std::to_string(version == kVersionWithSource ? 34 : 18));
  }
  if ((version != kVersion && version != kVersionWithSource) || (flags & ~(kFlagFromModel | kFlagSeveral)) != 0) {
    return Status::Unsupported("stored vector: version " + std::to_string(version) + " and flags " +
                               std::to_string(flags) + ", expected version 1 or 2");
  }
  if ((flags & kFlagSeveral) == 0) {
    vector.records.push_back(reader.Rest());
    return vector;
  }
  const auto count = reader.Fixed<std::uint16_t>();
  const Bytes rest = reader.Rest();
  if (!reader.ok() || count < 2 || count > kVectorsPerDocumentMax || rest.size() % count != 0) {
    return Status::Corruption("stored vector: " + std::to_string(count) + " records in " + std::to_string(rest.size()) +
                              " bytes, expected 2 to " + std::to_string(kVectorsPerDocumentMax) + " of one size");
  }
  const std::size_t record_bytes = rest.size() / count;
  for (std::size_t i = 0; i < count; ++i) vector.records.push_back(rest.substr(i * record_bytes, record_bytes));
  return vector;
}

Result<double> NearestRecord(const VectorQuery& query, const StoredVector& stored) {
  double nearest = std::numeric_limits<double>::infinity();
  for (const Bytes record : stored.records) {
    FORESHORE_ASSIGN_OR_RETURN(const double distance, query.DistanceToRecord(record));
    nearest = std::min(nearest, distance);
  }
  return nearest;
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

std::string_view FindOwnVectors(std::string_view body, const VectorIndexDefinition& index) {
  const std::string_view token = body.empty() ? body : FindValue(body, index.paths[0]);
  return token == "null" ? std::string_view() : token;
}

Result<ByteString> EncodeOwnVectors(std::string_view token, const VectorIndexDefinition& index) {
  if (token.size() < 2 || token.front() != '[') return Refuse(index, "value is not an array");
  const char* text = token.data() + 1;
  const char* const end = token.data() + token.size();
  const bool is_several = *text == '[';
  std::vector<ByteString> records;
  std::vector<float> values;
  while (true) {
    std::string which;
    if (is_several) {
      which = "vector " + std::to_string(records.size()) + ": ";
      if (*text != '[') return Refuse(index, which + "value is not an array");
      if (records.size() == kVectorsPerDocumentMax) {
        return Refuse(index, "array has more than " + std::to_string(kVectorsPerDocumentMax) + " vectors");
      }
      ++text;
    }
    FORESHORE_ASSIGN_OR_RETURN(text, ParseNumbers(text, end, index, which, values));
    FORESHORE_ASSIGN_OR_RETURN(records.emplace_back(),
                               EncodeVectorRecord(values, index.options.dimension, index.options.precision));
    if (!is_several || text >= end || *text != ',') break;
    ++text;
  }
  StoredVector stored;
  stored.source_hash = Fnv1a64(token);
  stored.records.assign(records.begin(), records.end());
  return EncodeStoredVector(stored);
}

}  // namespace foreshore
