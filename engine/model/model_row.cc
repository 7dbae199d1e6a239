#include "engine/model/model_row.h"

#include <algorithm>

#include "engine/document/json.h"
#include "engine/inference/json_reader.h"
#include "engine/model/model_manifest.h"

namespace foreshore {
namespace {

constexpr std::size_t kRowBytesMax = 1 << 20;
constexpr std::size_t kModelNameBytesMax = 64;

}  // namespace

Status ValidateModelName(std::string_view what, const std::string& name) {
  const bool fits =
      !name.empty() && name.size() <= kModelNameBytesMax && std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
      });
  if (fits) return Status::Ok();
  return Status::InvalidArgument(std::string(what) + " name \"" + name.substr(0, kModelNameBytesMax) +
                                 "\": expected 1 to 64 letters, digits, '-', '_' or '.'");
}

std::string EncodeModelRow(const ModelRow& row) {
  const ModelInfo& info = row.info;
  std::string out = "{";
  const auto text = [&](std::string_view key, std::string_view value) {
    if (out.size() > 1) out.push_back(',');
    AppendJsonString(out, key);
    out.push_back(':');
    AppendJsonString(out, value);
  };
  const auto number = [&](std::string_view key, std::uint64_t value) {
    out.push_back(',');
    AppendJsonString(out, key);
    out += ":" + std::to_string(value);
  };
  text("name", info.name);
  text("version", info.version);
  text("architecture", info.architecture);
  text("quantization", info.quantization);
  number("dimension", info.dimension);
  number("token_count_max", info.token_count_max);
  number("tensor_count", info.tensor_count);
  number("tensor_bytes", info.tensor_bytes);
  text("licence", info.licence);
  text("origin", info.origin);
  if (!info.runtime_version.empty()) text("runtime_version", info.runtime_version);
  out += ",\"manifest\":{\"$blob\":\"" + info.version + "\"}";
  if (!row.adapters.empty()) {
    out += ",\"adapters\":{";
    for (const auto& [name, blob] : row.adapters) {
      if (out.back() != '{') out.push_back(',');
      AppendJsonString(out, name);
      out += ":{\"$blob\":\"" + blob + "\"}";
    }
    out.push_back('}');
  }
  out.push_back('}');
  return out;
}

Result<ModelRow> DecodeModelRow(std::string_view body) {
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse("model row", body, kRowBytesMax));
  const simdjson::dom::object root = reader.root();
  ModelRow row;
  ModelInfo& info = row.info;
  info.name = JsonString(root, "name").value_or("");
  info.version = JsonString(root, "version").value_or("");
  info.architecture = JsonString(root, "architecture").value_or("");
  info.quantization = JsonString(root, "quantization").value_or("");
  info.dimension =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(JsonUnsigned(root, "dimension").value_or(0), UINT32_MAX));
  info.token_count_max = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(JsonUnsigned(root, "token_count_max").value_or(0), UINT32_MAX));
  info.tensor_count = JsonUnsigned(root, "tensor_count").value_or(0);
  info.tensor_bytes = JsonUnsigned(root, "tensor_bytes").value_or(0);
  info.licence = JsonString(root, "licence").value_or("");
  info.origin = JsonString(root, "origin").value_or("");
  info.runtime_version = JsonString(root, "runtime_version").value_or("");
  if (info.name.empty() || !ParseBlobId(info.version).ok()) {
    return Status::Corruption("model row: name or version is missing, expected both");
  }
  if (const auto adapters = JsonObject(root, "adapters")) {
    for (const auto [name, value] : *adapters) {
      simdjson::dom::object reference;
      const auto blob = value.get(reference) == simdjson::SUCCESS ? JsonString(reference, "$blob") : std::nullopt;
      if (!blob) return Status::Corruption("model \"" + info.name + "\": an adapter names no blob");
      row.adapters.emplace(name, *blob);
    }
  }
  for (const auto& [name, blob] : row.adapters) info.adapters.push_back(name);
  return row;
}

Status NoSuchAdapter(const ModelRow& row, const std::string& adapter) {
  std::string known;
  for (const auto& [other, blob] : row.adapters) known += (known.empty() ? "" : ", ") + other;
  return Status::NotFound("model \"" + row.info.name + "\": has no adapter \"" + adapter + "\", expected " +
                          (known.empty() ? "one that was added" : "one of " + known));
}

}  // namespace foreshore
