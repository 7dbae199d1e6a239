#include "engine/inference/graph/tensor_blob.h"

#include <cstring>

#include "storage/base/coding.h"

namespace foreshore::graph {

namespace {

constexpr std::string_view kMagic("FST\1", 4);
constexpr std::size_t kHeaderBytes = 8;

Status Damaged(const std::string& found) {
  return Status::InvalidArgument("tensor of " + found);
}

}  // namespace

ByteString EncodeTensorBlob(const TensorRef& tensor) {
  ByteString bytes(kMagic);
  AppendFixed(bytes, static_cast<std::uint16_t>(tensor.info->type));
  AppendFixed(bytes, static_cast<std::uint16_t>(tensor.info->shape.size()));
  for (const std::int64_t size : tensor.info->shape) AppendFixed(bytes, static_cast<std::uint64_t>(size));
  const auto size = static_cast<std::size_t>(tensor.count()) * OnnxTypeBytes(tensor.info->type);
  bytes.append(reinterpret_cast<const char*>(tensor.data), size);
  return bytes;
}

bool IsTensorBlob(Bytes bytes) {
  return bytes.starts_with(kMagic);
}

Result<OwnedTensor> DecodeTensorBlob(Bytes bytes, std::uint64_t bytes_max) {
  if (!IsTensorBlob(bytes) || bytes.size() < kHeaderBytes) {
    return Damaged(std::to_string(bytes.size()) + " bytes without a header");
  }
  const auto number = [&](std::size_t at, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
    }
    return value;
  };
  const auto type = static_cast<OnnxType>(number(4, 2));
  const std::uint64_t rank = number(6, 2);
  if (!Contains(kAllTypes, type)) return Damaged("elements of type " + std::to_string(number(4, 2)));
  if (rank > kTensorRankMax || bytes.size() < kHeaderBytes + rank * 8) {
    return Damaged(std::to_string(rank) + " dimensions in " + std::to_string(bytes.size()) + " bytes");
  }
  TensorInfo info{type, {}};
  for (std::uint64_t i = 0; i < rank; ++i) {
    const std::uint64_t size = number(kHeaderBytes + i * 8, 8);
    if (size > static_cast<std::uint64_t>(INT64_MAX)) return Damaged("a size beyond 63 bits");
    info.shape.push_back(static_cast<std::int64_t>(size));
  }
  const Bytes elements = bytes.substr(kHeaderBytes + rank * 8);
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t size_bytes, ByteCount(info, bytes_max));
  if (size_bytes != elements.size()) {
    return Damaged(std::to_string(elements.size()) + " bytes of elements, " + ToText(info) + " has " +
                   std::to_string(size_bytes));
  }
  FORESHORE_ASSIGN_OR_RETURN(OwnedTensor tensor, MakeTensor(std::move(info), bytes_max));
  if (size_bytes > 0) std::memcpy(tensor.bytes.get(), elements.data(), elements.size());
  return tensor;
}

}  // namespace foreshore::graph
