#include "engine/inference/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <unordered_set>
#include <utility>

#include "engine/inference/safetensors.h"
#include "engine/inference/tensor.h"
#include "storage/base/coding.h"

namespace foreshore {

namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint64_t kAlignmentDefault = 32;
// Name, rank, one dimension, type, offset: no info is smaller; key, type and a byte.
constexpr std::uint64_t kTensorInfoBytesMin = 8 + 1 + 4 + 8 + 4 + 8;
constexpr std::uint64_t kPairBytesMin = 8 + 1 + 4 + 1;

std::string Quote(std::string_view text) {
  return "\"" + std::string(text.substr(0, 128)) + "\"";
}

// 0 for what has no fixed size or is no type.
std::uint64_t FixedBytes(GgufValueType type) {
  switch (type) {
    case GgufValueType::kU8:
    case GgufValueType::kI8:
    case GgufValueType::kBool: return 1;
    case GgufValueType::kU16:
    case GgufValueType::kI16: return 2;
    case GgufValueType::kU32:
    case GgufValueType::kI32:
    case GgufValueType::kF32: return 4;
    case GgufValueType::kU64:
    case GgufValueType::kI64:
    case GgufValueType::kF64: return 8;
    case GgufValueType::kString:
    case GgufValueType::kArray: return 0;
  }
  return 0;
}

// Where a tensor lies, relative to the beginning of the data.
struct Placed {
  GgufTensor tensor;
  std::uint64_t begin = 0;
  std::uint64_t size_bytes = 0;
};

class Parser {
 public:
  Parser(std::string_view name, Bytes bytes) : name_(name), bytes_(bytes), reader_(bytes) {}

  Result<GgufFile> Read() {
    FORESHORE_RETURN_IF_ERROR(ReadHeader());
    for (std::uint64_t i = 0; i < key_count_; ++i) FORESHORE_RETURN_IF_ERROR(ReadPair());
    FORESHORE_RETURN_IF_ERROR(ReadAlignment());
    for (std::uint64_t i = 0; i < tensor_count_; ++i) FORESHORE_RETURN_IF_ERROR(ReadTensorInfo());
    FORESHORE_RETURN_IF_ERROR(CheckHeaderBytes());
    FORESHORE_RETURN_IF_ERROR(PlaceTensors());
    return std::move(file_);
  }

 private:
  Status Corruption(const std::string& problem) const { return Status::Corruption(name_ + ": " + problem); }
  Status Limit(const std::string& problem) const { return Status::Limit(name_ + ": " + problem); }
  Status Truncated(const std::string& inside) const {
    return Corruption("the file's " + std::to_string(bytes_.size()) + " bytes end inside " + inside);
  }

  Status ReadHeader() {
    if (!bytes_.starts_with(kMagic)) return Corruption("does not begin with GGUF");
    reader_.Take(kMagic.size());
    file_.version = reader_.Fixed<std::uint32_t>();
    tensor_count_ = reader_.Fixed<std::uint64_t>();
    key_count_ = reader_.Fixed<std::uint64_t>();
    if (!reader_.ok()) return Truncated("the header");
    if (file_.version != 2 && file_.version != 3) {
      const bool is_swapped = file_.version != 0 && (file_.version & 0xFFFFU) == 0;
      return Status::Unsupported(
          name_ + (is_swapped ? ": big-endian GGUF, expected little-endian"
                              : ": GGUF version " + std::to_string(file_.version) + ", expected 2 or 3"));
    }
    if (tensor_count_ > kTensorsPerModelMax) {
      return Limit(std::to_string(tensor_count_) + " tensors, at most " + std::to_string(kTensorsPerModelMax) +
                   " are allowed");
    }
    if (key_count_ > kModelMetadataPairsMax) {
      return Limit(std::to_string(key_count_) + " metadata pairs, at most " + std::to_string(kModelMetadataPairsMax) +
                   " are allowed");
    }
    if (tensor_count_ * kTensorInfoBytesMin + key_count_ * kPairBytesMin > reader_.remaining_bytes()) {
      return Corruption(std::to_string(tensor_count_) + " tensors and " + std::to_string(key_count_) +
                        " metadata pairs, more than the file's " + std::to_string(bytes_.size()) + " bytes can hold");
    }
    return Status::Ok();
  }

  Status ReadString(const std::string& what, std::string_view& text) {
    const auto size_bytes = reader_.Fixed<std::uint64_t>();
    if (!reader_.ok()) return Truncated(what);
    if (size_bytes > kModelStringBytesMax) {
      return Limit(what + " has " + std::to_string(size_bytes) + " bytes, at most " +
                   std::to_string(kModelStringBytesMax) + " are allowed");
    }
    text = reader_.Take(size_bytes);
    return reader_.ok() ? Status::Ok() : Truncated(what);
  }

  Status CheckHeaderBytes() const {
    const std::size_t header_bytes = bytes_.size() - reader_.remaining_bytes();
    if (header_bytes <= kModelHeaderBytesMax) return Status::Ok();
    return Limit("header of more than " + std::to_string(kModelHeaderBytesMax) + " bytes");
  }

  Status ReadPair() {
    std::string_view key;
    FORESHORE_RETURN_IF_ERROR(ReadString("a key", key));
    if (key.empty()) return Corruption("a key is empty");
    GgufValue value;
    value.type = static_cast<GgufValueType>(reader_.Fixed<std::uint32_t>());
    const std::string what = "the value of " + Quote(key);
    if (value.type == GgufValueType::kString) {
      FORESHORE_RETURN_IF_ERROR(ReadString(what, value.bytes));
    } else if (value.type == GgufValueType::kArray) {
      FORESHORE_RETURN_IF_ERROR(ReadArray(what, 1, value));
    } else {
      FORESHORE_RETURN_IF_ERROR(ReadFixed(what, value.type, 1, value.bytes));
    }
    FORESHORE_RETURN_IF_ERROR(CheckHeaderBytes());
    if (!file_.values.emplace(key, value).second) return Corruption("the key " + Quote(key) + " appears twice");
    return Status::Ok();
  }

  Status ReadFixed(const std::string& what, GgufValueType type, std::uint64_t count, Bytes& bytes) {
    const std::uint64_t size_bytes = FixedBytes(type);
    if (!reader_.ok()) return Truncated(what);
    if (size_bytes == 0) {
      return Corruption(what + " is of the unknown type " + std::to_string(static_cast<std::uint32_t>(type)));
    }
    if (count > reader_.remaining_bytes() / size_bytes) return Truncated(what);
    bytes = reader_.Take(count * size_bytes);
    if (type != GgufValueType::kBool) return Status::Ok();
    if (std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0 || c == 1; })) return Status::Ok();
    return Corruption(what + " is neither true nor false");
  }

  // Recursion is bounded by `depth`.
  Status ReadArray(const std::string& what, std::size_t depth, GgufValue& array) {
    if (depth > kGgufArrayDepthMax) {
      return Limit(what + " nests arrays deeper than " + std::to_string(kGgufArrayDepthMax));
    }
    array.element_type = static_cast<GgufValueType>(reader_.Fixed<std::uint32_t>());
    array.count = reader_.Fixed<std::uint64_t>();
    if (!reader_.ok()) return Truncated(what);
    if (array.element_type != GgufValueType::kString && array.element_type != GgufValueType::kArray) {
      return ReadFixed(what, array.element_type, array.count, array.bytes);
    }
    const char* begin = bytes_.data() + (bytes_.size() - reader_.remaining_bytes());
    for (std::uint64_t i = 0; i < array.count; ++i) {
      if (array.element_type == GgufValueType::kString) {
        std::string_view text;
        FORESHORE_RETURN_IF_ERROR(ReadString(what, text));
      } else {
        GgufValue inner;
        FORESHORE_RETURN_IF_ERROR(ReadArray(what, depth + 1, inner));
      }
    }
    const char* end = bytes_.data() + (bytes_.size() - reader_.remaining_bytes());
    array.bytes = Bytes(begin, static_cast<std::size_t>(end - begin));
    return Status::Ok();
  }

  Status ReadAlignment() {
    if (!file_.values.contains("general.alignment")) return Status::Ok();
    const auto alignment = file_.Unsigned("general.alignment");
    if (alignment && std::has_single_bit(*alignment) && *alignment >= 8 && *alignment <= kGgufAlignmentMax) {
      alignment_ = *alignment;
      return Status::Ok();
    }
    return Corruption("general.alignment is " + (alignment ? std::to_string(*alignment) : "no unsigned number") +
                      ", expected a power of two in 8.." + std::to_string(kGgufAlignmentMax));
  }

  Status ReadTensorInfo() {
    Placed& placed = placed_.emplace_back();
    std::string_view text;
    FORESHORE_RETURN_IF_ERROR(ReadString("a tensor's name", text));
    if (text.empty()) return Corruption("a tensor's name is empty");
    placed.tensor.name = text;
    const std::string what = "tensor " + Quote(text);
    if (!names_.insert(text).second) return Corruption(what + " appears twice");
    const auto rank = reader_.Fixed<std::uint32_t>();
    if (!reader_.ok()) return Truncated(what);
    if (rank == 0 || rank > kGgufRankMax) {
      return Limit(what + " has " + std::to_string(rank) + " dimensions, expected 1.." + std::to_string(kGgufRankMax));
    }
    for (std::uint32_t i = 0; i < rank; ++i) placed.tensor.shape.push_back(reader_.Fixed<std::uint64_t>());
    placed.tensor.type_id = reader_.Fixed<std::uint32_t>();
    placed.tensor.type = FindGgmlType(placed.tensor.type_id);
    placed.begin = reader_.Fixed<std::uint64_t>();
    if (!reader_.ok()) return Truncated(what);
    if (placed.begin % alignment_ != 0) {
      return Corruption(what + " lies at " + std::to_string(placed.begin) + ", expected a multiple of " +
                        std::to_string(alignment_));
    }
    FORESHORE_RETURN_IF_ERROR(SizeOf(what, placed));
    std::reverse(placed.tensor.shape.begin(), placed.tensor.shape.end());
    return Status::Ok();
  }

  // The shape is as in the file: innermost first.
  Status SizeOf(const std::string& what, Placed& placed) const {
    const GgmlType* type = placed.tensor.type;
    std::uint64_t element_count = 1;
    for (const std::uint64_t dimension : placed.tensor.shape) {
      if (dimension == 0) return Corruption(what + " has a dimension of 0");
      // Its bytes, at most 8 to an element, and a sum of them with an offset stay below 2^63 this way.
      if (dimension > (1ULL << 58) / element_count) {
        return Limit(what + ": dimensions multiply to more than 2^58 elements");
      }
      element_count *= dimension;
    }
    if (type == nullptr) return Status::Ok();
    const std::uint64_t row = placed.tensor.shape.front();
    if (row % type->block_elements != 0) {
      return Corruption(what + " has rows of " + std::to_string(row) + " elements, type " + std::string(type->name) +
                        " needs a multiple of " + std::to_string(type->block_elements));
    }
    placed.size_bytes = element_count / type->block_elements * type->block_bytes;
    return Status::Ok();
  }

  std::uint64_t Aligned(std::uint64_t offset) const { return (offset + alignment_ - 1) / alignment_ * alignment_; }

  // Sorted by place, each begins where the one before ended, rounded up; the same as ggml's own reader asks for. What
  // follows a tensor of an unknown type cannot be placed by it, only kept inside the file.
  Status PlaceTensors() {
    const std::uint64_t header_bytes = bytes_.size() - reader_.remaining_bytes();
    const Bytes data = bytes_.substr(std::min<std::uint64_t>(Aligned(header_bytes), bytes_.size()));
    std::sort(placed_.begin(), placed_.end(), [](const Placed& a, const Placed& b) {
      return std::pair(a.begin, std::string_view(a.tensor.name)) < std::pair(b.begin, std::string_view(b.tensor.name));
    });
    std::uint64_t expected = 0;
    bool is_known = true;  // Whether `expected` is.
    for (Placed& placed : placed_) {
      const std::string what = "tensor " + Quote(placed.tensor.name);
      if (is_known && placed.begin != expected) {
        return Corruption(what + " lies at " + std::to_string(placed.begin) + ", expected " + std::to_string(expected) +
                          " where the tensor before it ends");
      }
      if (placed.begin > data.size() || placed.size_bytes > data.size() - placed.begin) {
        return Corruption(what + " has " + std::to_string(placed.size_bytes) + " bytes at " +
                          std::to_string(placed.begin) + ", the file holds " + std::to_string(data.size()) +
                          " bytes of data");
      }
      is_known = placed.tensor.type != nullptr;
      if (is_known) {
        placed.tensor.bytes = data.substr(placed.begin, placed.size_bytes);
        expected = Aligned(placed.begin + placed.size_bytes);
      }
      file_.tensors.push_back(std::move(placed.tensor));
    }
    if (is_known && expected < data.size()) {
      return Corruption("tensors end at " + std::to_string(expected) + ", the file holds " +
                        std::to_string(data.size()) + " bytes of data");
    }
    return Status::Ok();
  }

  std::string name_;
  Bytes bytes_;
  ByteReader reader_;
  std::uint64_t tensor_count_ = 0;
  std::uint64_t key_count_ = 0;
  std::uint64_t alignment_ = kAlignmentDefault;
  std::unordered_set<std::string_view> names_;
  std::vector<Placed> placed_;
  GgufFile file_;
};

std::optional<std::uint64_t> ToUnsigned(GgufValueType type, const char* source) {
  const auto keep = [](std::int64_t value) {
    return value < 0 ? std::nullopt : std::optional(static_cast<std::uint64_t>(value));
  };
  switch (type) {
    case GgufValueType::kU8: return LoadFixed<std::uint8_t>(source);
    case GgufValueType::kU16: return LoadFixed<std::uint16_t>(source);
    case GgufValueType::kU32: return LoadFixed<std::uint32_t>(source);
    case GgufValueType::kU64: return LoadFixed<std::uint64_t>(source);
    case GgufValueType::kI8: return keep(LoadFixed<std::int8_t>(source));
    case GgufValueType::kI16: return keep(LoadFixed<std::int16_t>(source));
    case GgufValueType::kI32: return keep(LoadFixed<std::int32_t>(source));
    case GgufValueType::kI64: return keep(LoadFixed<std::int64_t>(source));
    default: return std::nullopt;
  }
}

const GgufValue* Find(const GgufFile& file, std::string_view key) {
  const auto found = file.values.find(key);
  return found == file.values.end() ? nullptr : &found->second;
}

}  // namespace

std::optional<std::uint64_t> GgufFile::Unsigned(std::string_view key) const {
  const GgufValue* value = Find(*this, key);
  if (value == nullptr) return std::nullopt;
  return ToUnsigned(value->type, value->bytes.data());
}

std::optional<double> GgufFile::Number(std::string_view key) const {
  const GgufValue* value = Find(*this, key);
  if (value == nullptr) return std::nullopt;
  if (value->type == GgufValueType::kF32) return LoadFixed<float>(value->bytes.data());
  if (value->type == GgufValueType::kF64) return LoadFixed<double>(value->bytes.data());
  return std::nullopt;
}

std::optional<bool> GgufFile::Bool(std::string_view key) const {
  const GgufValue* value = Find(*this, key);
  if (value == nullptr || value->type != GgufValueType::kBool) return std::nullopt;
  return value->bytes.front() != 0;
}

std::optional<std::string_view> GgufFile::String(std::string_view key) const {
  const GgufValue* value = Find(*this, key);
  if (value == nullptr || value->type != GgufValueType::kString) return std::nullopt;
  return value->bytes;
}

std::optional<std::vector<std::string_view>> GgufFile::Strings(std::string_view key) const {
  const GgufValue* value = Find(*this, key);
  if (value == nullptr || value->type != GgufValueType::kArray || value->element_type != GgufValueType::kString) {
    return std::nullopt;
  }
  std::vector<std::string_view> strings;
  ByteReader reader(value->bytes);
  while (!reader.at_end()) strings.push_back(reader.Take(reader.Fixed<std::uint64_t>()));
  return strings;
}

std::optional<std::vector<std::uint64_t>> GgufFile::UnsignedArray(std::string_view key) const {
  const GgufValue* value = Find(*this, key);
  if (value == nullptr || value->type != GgufValueType::kArray) return std::nullopt;
  std::vector<std::uint64_t> numbers;
  const std::uint64_t size_bytes = FixedBytes(value->element_type);
  for (std::uint64_t i = 0; i < value->count; ++i) {
    const auto number =
        size_bytes == 0 ? std::nullopt : ToUnsigned(value->element_type, value->bytes.data() + i * size_bytes);
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

Result<GgufFile> ReadGguf(std::string_view name, Bytes bytes) {
  return Parser(name, bytes).Read();
}

}  // namespace foreshore
