#include "engine/inference/safetensors.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include "engine/inference/json_reader.h"
#include "storage/base/coding.h"

namespace foreshore {

namespace {

using simdjson::dom::object;

constexpr std::size_t kLengthBytes = 8;

constexpr std::pair<std::string_view, TensorType> kTypes[] = {
    {"F32", TensorType::kF32}, {"F16", TensorType::kF16}, {"BF16", TensorType::kBF16}, {"I8", TensorType::kI8},
    {"U8", TensorType::kU8},   {"I32", TensorType::kI32}, {"I64", TensorType::kI64}};

std::string_view DtypeOf(TensorType type) {
  for (const auto& [name, of] : kTypes) {
    if (of == type) return name;
  }
  return "";
}

std::optional<TensorType> TypeFromDtype(std::string_view dtype) {
  for (const auto& [name, type] : kTypes) {
    if (name == dtype) return type;
  }
  return std::nullopt;
}

// Where a tensor's bytes lie, relative to the end of the header.
struct Placed {
  TensorView tensor;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

Status ReadShape(const std::string& where, object section, std::vector<std::uint64_t>& shape) {
  const auto dimensions = JsonArray(section, "shape");
  if (!dimensions.has_value()) return Status::Corruption(where + " has no shape");
  for (const simdjson::dom::element element : *dimensions) {
    if (shape.size() == kTensorRankMax) {
      return Status::Limit(where + " has more than " + std::to_string(kTensorRankMax) + " dimensions");
    }
    std::uint64_t dimension = 0;
    if (element.get(dimension) != simdjson::SUCCESS) {
      return Status::Corruption(where + " has a dimension that is not an unsigned 64-bit integer");
    }
    shape.push_back(dimension);
  }
  return Status::Ok();
}

// One entry of the header. A type that TensorType lacks is added to `unsupported` and is no error yet.
Status ReadEntry(const std::string& where, object section, std::uint64_t data_bytes, Placed& placed,
                 std::string& unsupported) {
  for (const auto [key, value] : section) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return Status::Corruption(where + " has the unknown member \"" + std::string(key.substr(0, 64)) + "\"");
    }
  }
  const auto dtype = JsonString(section, "dtype");
  if (!dtype.has_value()) return Status::Corruption(where + " has no dtype");
  FORESHORE_RETURN_IF_ERROR(ReadShape(where, section, placed.tensor.shape));
  const auto offsets = JsonArray(section, "data_offsets");
  if (!offsets.has_value() || offsets->size() != 2 || offsets->at(0).get(placed.begin) != simdjson::SUCCESS ||
      offsets->at(1).get(placed.end) != simdjson::SUCCESS) {
    return Status::Corruption(where + " has no two unsigned data_offsets");
  }
  if (placed.begin > placed.end || placed.end > data_bytes) {
    return Status::Corruption(where + " lies at " + std::to_string(placed.begin) + ".." + std::to_string(placed.end) +
                              ", expected inside the file's " + std::to_string(data_bytes) + " bytes of data");
  }
  const auto type = TypeFromDtype(*dtype);
  if (!type.has_value()) {
    unsupported += (unsupported.empty() ? "" : ", ") + where + " of type " + std::string(dtype->substr(0, 16));
    return Status::Ok();
  }
  placed.tensor.type = *type;
  const Result<std::uint64_t> size_bytes = TensorByteCount(*type, placed.tensor.shape);
  if (!size_bytes.ok()) return size_bytes.status().WithContext(where);
  if (*size_bytes != placed.end - placed.begin) {
    return Status::Corruption(where + " has " + std::to_string(placed.end - placed.begin) +
                              " bytes, its type and shape need " + std::to_string(*size_bytes));
  }
  return Status::Ok();
}

Status ReadMetadata(const std::string& file, object section,
                    std::vector<std::pair<std::string, std::string>>& metadata) {
  for (const auto [key, value] : section) {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS) {
      return Status::Corruption(file + ": metadata \"" + std::string(key.substr(0, 64)) + "\" is not a string");
    }
    if (metadata.size() == kModelMetadataPairsMax) {
      return Status::Limit(file + ": more than " + std::to_string(kModelMetadataPairsMax) + " metadata pairs");
    }
    if (key.size() > kModelStringBytesMax || text.size() > kModelStringBytesMax) {
      return Status::Limit(file + ": metadata \"" + std::string(key.substr(0, 64)) + "\" is longer than " +
                           std::to_string(kModelStringBytesMax) + " bytes");
    }
    metadata.emplace_back(key, text);
  }
  return Status::Ok();
}

// Sorted by place, each tensor must begin where the one before ended; this also refuses an empty tensor inside another.
Status CheckCover(const std::string& file, std::vector<Placed>& entries, std::uint64_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.begin, a.end, a.tensor.name) < std::tie(b.begin, b.end, b.tensor.name);
  });
  std::uint64_t covered = 0;
  for (const Placed& placed : entries) {
    if (placed.begin != covered) {
      return Status::Corruption(file + ": tensor \"" + placed.tensor.name + "\" begins at " +
                                std::to_string(placed.begin) + ", expected " + std::to_string(covered) +
                                " where the tensor before it ends");
    }
    covered = placed.end;
  }
  if (covered == data_bytes) return Status::Ok();
  return Status::Corruption(file + ": tensors end at " + std::to_string(covered) + ", the file holds " +
                            std::to_string(data_bytes) + " bytes of data");
}

}  // namespace

Result<SafetensorsFile> ReadSafetensors(std::string_view name, Bytes bytes) {
  const std::string file(name);
  if (bytes.size() < kLengthBytes) {
    return Status::Corruption(file + ": " + std::to_string(bytes.size()) + " bytes, a header length needs 8");
  }
  const auto header_bytes = LoadFixed<std::uint64_t>(bytes.data());
  if (header_bytes > kModelHeaderBytesMax) {
    return Status::Limit(file + ": header of " + std::to_string(header_bytes) + " bytes, at most " +
                         std::to_string(kModelHeaderBytesMax) + " are allowed");
  }
  if (header_bytes > bytes.size() - kLengthBytes) {
    return Status::Corruption(file + ": header of " + std::to_string(header_bytes) + " bytes, the file has " +
                              std::to_string(bytes.size() - kLengthBytes) + " after its length");
  }
  const Bytes header = bytes.substr(kLengthBytes, header_bytes);
  const Bytes data = bytes.substr(kLengthBytes + header_bytes);
  if (!header.starts_with('{')) return Status::Corruption(file + ": header does not begin with {");
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse(file, header, kModelHeaderBytesMax));

  SafetensorsFile result;
  std::vector<Placed> entries;
  std::string unsupported;
  for (const auto [key, value] : reader.root()) {
    const std::string where = file + ": tensor \"" + std::string(key.substr(0, 128)) + "\"";
    object section;
    if (value.get(section) != simdjson::SUCCESS) return Status::Corruption(where + " is not described by an object");
    if (key == "__metadata__") {
      FORESHORE_RETURN_IF_ERROR(ReadMetadata(file, section, result.metadata));
      continue;
    }
    if (entries.size() == kTensorsPerModelMax) {
      return Status::Limit(file + ": more than " + std::to_string(kTensorsPerModelMax) + " tensors");
    }
    if (key.empty() || key.size() > kModelStringBytesMax) {
      return Status::Limit(file + ": a tensor's name has " + std::to_string(key.size()) + " bytes, expected 1.." +
                           std::to_string(kModelStringBytesMax));
    }
    Placed& placed = entries.emplace_back();
    placed.tensor.name = key;
    FORESHORE_RETURN_IF_ERROR(ReadEntry(where, section, data.size(), placed, unsupported));
  }
  FORESHORE_RETURN_IF_ERROR(CheckCover(file, entries, data.size()));
  if (!unsupported.empty()) return Status::Unsupported(unsupported + "; expected f32, f16, bf16, i8, u8, i32 or i64");
  for (Placed& placed : entries) {
    placed.tensor.bytes = data.substr(placed.begin, placed.end - placed.begin);
    result.tensors.push_back(std::move(placed.tensor));
  }
  return result;
}

ByteString WriteSafetensors(std::vector<TensorView> tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) { return a.name < b.name; });
  std::string header = "{";
  std::uint64_t offset = 0;
  for (const TensorView& tensor : tensors) {
    if (header.size() > 1) header.push_back(',');
    header += "\"" + tensor.name + "\":{\"dtype\":\"" + std::string(DtypeOf(tensor.type)) + "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i)
      header += (i == 0 ? "" : ",") + std::to_string(tensor.shape[i]);
    header +=
        "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + tensor.bytes.size()) + "]}";
    offset += tensor.bytes.size();
  }
  header.push_back('}');
  header.resize((header.size() + 7) / 8 * 8, ' ');  // The numbers begin aligned.
  ByteString file;
  AppendFixed(file, static_cast<std::uint64_t>(header.size()));
  file += header;
  for (const TensorView& tensor : tensors) file += tensor.bytes;
  return file;
}

}  // namespace foreshore
