// Writes GGUF files for tests, right or wrong ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/inference/gguf.h"
#include "foreshore/bytes.h"
#include "storage/base/coding.h"

namespace foreshore {

inline ByteString GgufText(std::string_view text) {
  ByteString out;
  AppendFixed(out, static_cast<std::uint64_t>(text.size()));
  return out.append(text);
}

template <typename T>
ByteString FixedBytesOf(T value) {
  ByteString out;
  AppendFixed(out, value);
  return out;
}

class GgufWriter {
 public:
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;  // Of the data; a key says so only where a test writes one.
  std::int64_t tensor_count_added = 0;
  std::int64_t key_count_added = 0;

  GgufWriter& Key(std::string_view name, GgufValueType type, Bytes value) {
    keys_ += GgufText(name);
    AppendFixed(keys_, static_cast<std::uint32_t>(type));
    keys_ += value;
    ++key_count_;
    return *this;
  }
  GgufWriter& Text(std::string_view name, std::string_view value) {
    return Key(name, GgufValueType::kString, GgufText(value));
  }
  GgufWriter& U32(std::string_view name, std::uint32_t value) {
    return Key(name, GgufValueType::kU32, FixedBytesOf(value));
  }
  GgufWriter& F32(std::string_view name, float value) { return Key(name, GgufValueType::kF32, FixedBytesOf(value)); }
  GgufWriter& Texts(std::string_view name, const std::vector<std::string>& values) {
    ByteString array = FixedBytesOf(static_cast<std::uint32_t>(GgufValueType::kString));
    AppendFixed(array, static_cast<std::uint64_t>(values.size()));
    for (const std::string& value : values) array += GgufText(value);
    return Key(name, GgufValueType::kArray, array);
  }

  // Dimensions innermost first, as in the file.
  GgufWriter& TensorAt(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                       std::uint64_t offset) {
    infos_ += GgufText(name);
    AppendFixed(infos_, static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims) AppendFixed(infos_, dim);
    AppendFixed(infos_, type);
    AppendFixed(infos_, offset);
    ++tensor_count_;
    return *this;
  }
  GgufWriter& Tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type, Bytes bytes) {
    TensorAt(name, dims, type, data_.size());
    data_ += bytes;
    data_.resize((data_.size() + alignment - 1) / alignment * alignment, '\0');
    return *this;
  }
  GgufWriter& Data(Bytes bytes) {
    data_ += bytes;
    return *this;
  }

  ByteString Finish() const {
    ByteString file = "GGUF";
    AppendFixed(file, version);
    AppendFixed(file, tensor_count_ + static_cast<std::uint64_t>(tensor_count_added));
    AppendFixed(file, key_count_ + static_cast<std::uint64_t>(key_count_added));
    file += keys_ + infos_;
    file.resize((file.size() + alignment - 1) / alignment * alignment, '\0');
    return file + data_;
  }

 private:
  ByteString keys_;
  ByteString infos_;
  ByteString data_;
  std::uint64_t key_count_ = 0;
  std::uint64_t tensor_count_ = 0;
};

}  // namespace foreshore
