#include "engine/query/vector_argument.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "engine/database/stored_vector.h"
#include "engine/query/sql_json.h"
#include "foreshore/vector_metric.h"
#include "storage/base/coding.h"

namespace foreshore {

namespace {

constexpr std::uint32_t kExponentBits = 0x7F800000;  // All set: no finite number.

Status WrongNumber(std::string_view what, std::size_t position) {
  return Status::InvalidArgument(std::string(what) + ": number " + std::to_string(position) +
                                 " of the vector is not a finite float");
}

Status TooLong(std::string_view what) {
  return Status::Limit(std::string(what) + ": the vector has more than " + std::to_string(kVectorDimensionMax) +
                       " dimensions");
}

std::string_view SkipSpace(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

Result<std::vector<float>> FromJson(std::string_view text, std::string_view what) {
  const auto malformed = [&] {
    return Status::InvalidArgument(std::string(what) +
                                   ": found text that is no JSON array of numbers; expected one, a "
                                   "blob of 32-bit floats or embed(model, text)");
  };
  text = SkipSpace(text);
  if (!text.starts_with('[')) return malformed();
  std::vector<float> vector;
  while (true) {
    text = SkipSpace(text.substr(1));
    if (vector.empty() && text.starts_with(']')) break;
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc::invalid_argument) return malformed();
    const auto component = static_cast<float>(number);
    if (error != std::errc() || !std::isfinite(component)) return WrongNumber(what, vector.size());
    if (vector.size() == kVectorDimensionMax) return TooLong(what);
    vector.push_back(component);
    text = SkipSpace(text.substr(static_cast<std::size_t>(end - text.data())));
    if (text.starts_with(']')) break;
    if (!text.starts_with(',')) return malformed();
  }
  if (!SkipSpace(text.substr(1)).empty()) return malformed();
  return vector;
}

}  // namespace

Result<std::vector<float>> VectorFromValue(sqlite3_value* value, std::string_view what) {
  if (sqlite3_value_type(value) == SQLITE_TEXT) return FromJson(TextOf(value), what);
  if (sqlite3_value_type(value) != SQLITE_BLOB) {
    return Status::InvalidArgument(std::string(what) +
                                   ": found a number, expected a JSON array or a blob of 32-bit floats");
  }
  const auto size_bytes = static_cast<std::size_t>(sqlite3_value_bytes(value));
  if (size_bytes % sizeof(float) != 0) {
    return Status::InvalidArgument(std::string(what) + ": found a blob of " + std::to_string(size_bytes) +
                                   " bytes, expected 4 for each dimension");
  }
  if (size_bytes / sizeof(float) > kVectorDimensionMax) return TooLong(what);
  std::vector<float> vector(size_bytes / sizeof(float));
  const char* bytes = static_cast<const char*>(sqlite3_value_blob(value));  // Null where it is empty.
  bool is_finite = true;
  for (std::size_t i = 0; i < vector.size(); ++i) {  // Without a branch, so that several are done at once.
    vector[i] = LoadFixed<float>(bytes + i * sizeof(float));
    is_finite &= (std::bit_cast<std::uint32_t>(vector[i]) & kExponentBits) != kExponentBits;
  }
  if (is_finite) return vector;
  const auto wrong = std::find_if_not(vector.begin(), vector.end(), [](float each) { return std::isfinite(each); });
  return WrongNumber(what, static_cast<std::size_t>(wrong - vector.begin()));
}

Result<std::vector<std::vector<float>>> VectorsFromValue(sqlite3_value* value, std::string_view what) {
  std::vector<std::vector<float>> vectors;
  std::string_view text = sqlite3_value_type(value) == SQLITE_TEXT ? SkipSpace(TextOf(value)) : std::string_view();
  if (!text.starts_with('[') || !SkipSpace(text.substr(1)).starts_with('[')) {
    FORESHORE_ASSIGN_OR_RETURN(vectors.emplace_back(), VectorFromValue(value, what));
    return vectors;
  }
  do {
    text = SkipSpace(text.substr(1));
    if (vectors.size() == kVectorsPerDocumentMax) {
      return Status::InvalidArgument(std::string(what) + ": the array has more than " +
                                     std::to_string(kVectorsPerDocumentMax) + " vectors");
    }
    const std::size_t size = std::min(text.find(']'), text.size() - 1) + 1;
    FORESHORE_ASSIGN_OR_RETURN(vectors.emplace_back(), FromJson(text.substr(0, size), what));
    if (vectors.back().size() != vectors.front().size()) {
      return Status::InvalidArgument(std::string(what) + ": vector " + std::to_string(vectors.size() - 1) + " has " +
                                     std::to_string(vectors.back().size()) + " dimensions, expected " +
                                     std::to_string(vectors.front().size()));
    }
    text = SkipSpace(text.substr(size));
  } while (text.starts_with(','));
  if (!text.starts_with(']') || !SkipSpace(text.substr(1)).empty()) {
    return Status::InvalidArgument(std::string(what) + ": found text that is no JSON array of vectors");
  }
  return vectors;
}

ByteString BlobFromVector(std::span<const float> vector) {
  ByteString blob;
  blob.reserve(vector.size() * sizeof(float));
  for (const float component : vector) AppendFixed(blob, component);
  return blob;
}

std::string JsonFromVector(std::span<const float> vector) {
  std::string text = "[";
  for (const float component : vector) {
    char buffer[32];
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), component);
    static_cast<void>(error);
    if (text.size() > 1) text += ',';
    text.append(buffer, end);
  }
  return text + ']';
}

}  // namespace foreshore
