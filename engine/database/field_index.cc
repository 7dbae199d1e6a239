#include "engine/database/field_index.h"

#include <algorithm>

#include "engine/document/json.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kFieldIndexVersion = 1;
constexpr std::size_t kIndexNameBytesMax = 200;
constexpr std::size_t kPredicateBytesMax = 1000;

Status ParseIndexedPath(const std::string& text, IndexedPath& parsed) {
  std::string_view path = text;
  if (path.ends_with("[]")) {
    parsed.is_each_element = true;
    path.remove_suffix(2);
  }
  FORESHORE_ASSIGN_OR_RETURN(parsed.path, ParsePath(path));
  return Status::Ok();
}

// Fills in what follows from name and options.
Status Derive(FieldIndexDefinition& index) {
  const auto named = [&](const Status& status) { return status.WithContext("index \"" + index.name + "\""); };
  const std::size_t count = index.options.paths.size();
  if (count == 0 || count > kFieldIndexPathCountMax) {
    return named(Status::InvalidArgument(std::to_string(count) + " paths, expected 1 to " +
                                         std::to_string(kFieldIndexPathCountMax)));
  }
  std::size_t element_path_count = 0;
  for (const std::string& path : index.options.paths) {
    IndexedPath parsed;
    if (const Status status = ParseIndexedPath(path, parsed); !status.ok()) return named(status);
    if (parsed.path == "id" || parsed.path == "body") {
      return named(Status::InvalidArgument("path \"" + path + "\" is a column of its own, expected a field"));
    }
    const auto same = [&](const IndexedPath& each) { return each.path == parsed.path; };
    if (std::any_of(index.paths.begin(), index.paths.end(), same)) {
      return named(Status::InvalidArgument("path \"" + path + "\" is named twice"));
    }
    if (parsed.is_each_element) ++element_path_count;
    index.paths.push_back(std::move(parsed));
  }
  if (element_path_count > 1) {
    return named(Status::InvalidArgument(std::to_string(element_path_count) +
                                         " paths with array elements, expected at most one"));
  }
  if (element_path_count > 0 && index.options.unique) {
    return named(Status::Unsupported("unique array elements, expected paths without []"));
  }
  if (index.options.where.empty()) return Status::Ok();
  if (index.options.where.size() > kPredicateBytesMax) {
    return named(Status::Limit("predicate of " + std::to_string(index.options.where.size()) +
                               " bytes, expected at most " + std::to_string(kPredicateBytesMax)));
  }
  auto terms = ParseFieldPredicate(index.options.where);
  if (!terms.ok()) return named(terms.status());
  index.predicate = std::move(terms).value();
  return Status::Ok();
}

}  // namespace

Result<FieldIndexDefinition> DefineFieldIndex(const std::string& collection, const FieldIndexOptions& options) {
  FieldIndexDefinition index;
  index.options = options;
  if (index.options.name.empty()) {
    for (const std::string& path : options.paths) index.options.name += (index.options.name.empty() ? "" : ",") + path;
  }
  index.name = collection + "." + index.options.name;
  FORESHORE_RETURN_IF_ERROR(CheckIndexName(index.name, index.options.name));
  FORESHORE_RETURN_IF_ERROR(Derive(index));
  return index;
}

Status CheckIndexName(const std::string& name, const std::string& own) {
  if (!own.empty() && own.size() <= kIndexNameBytesMax) return Status::Ok();
  return Status::InvalidArgument("index \"" + name.substr(0, kIndexNameBytesMax) + "\": name of " +
                                 std::to_string(own.size()) + " bytes, expected 1 to " +
                                 std::to_string(kIndexNameBytesMax));
}

ByteString EncodeFieldIndex(const FieldIndexDefinition& index) {
  ByteString out;
  AppendFixed(out, kFieldIndexVersion);
  AppendVarint(out, index.id);
  AppendVarint(out, index.collection_id);
  AppendPrefixed(out, index.name);
  AppendPrefixed(out, index.options.name);
  AppendFixed(out, static_cast<std::uint8_t>((index.options.unique ? 1 : 0) | (index.is_ready ? 2 : 0)));
  AppendPrefixed(out, index.options.where);
  AppendVarint(out, index.options.paths.size());
  for (const std::string& path : index.options.paths) AppendPrefixed(out, path);
  return out;
}

Result<FieldIndexDefinition> DecodeFieldIndex(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  if (reader.ok() && version != kFieldIndexVersion) {
    return Status::Unsupported("catalogue row of an index: version " + std::to_string(version) + ", expected 1");
  }
  FieldIndexDefinition index;
  index.id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  index.collection_id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  index.name = reader.Prefixed();
  index.options.name = reader.Prefixed();
  const auto flags = reader.Fixed<std::uint8_t>();
  index.options.unique = (flags & 1) != 0;
  index.is_ready = (flags & 2) != 0;
  index.options.where = reader.Prefixed();
  const std::uint64_t path_count = reader.VarintAtMost(kFieldIndexPathCountMax);
  for (std::uint64_t i = 0; i < path_count && reader.ok(); ++i) index.options.paths.emplace_back(reader.Prefixed());
  if (!reader.ok() || !reader.at_end() || flags > 3 || index.name.empty()) {
    return Status::Corruption("catalogue row of an index: " + std::to_string(bytes.size()) +
                              " bytes do not follow the format");
  }
  if (const Status status = Derive(index); !status.ok()) {
    return Status::Corruption("catalogue row of an index: " + status.message());
  }
  return index;
}

}  // namespace foreshore
