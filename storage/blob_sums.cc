#include "storage/blob_sums.h"

#include <algorithm>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::string_view kMagic = "FSSUMS1\n";
constexpr std::size_t kHeadBytes = 52;

std::uint64_t PieceCount(std::uint64_t blob_bytes) {
  return (blob_bytes + kBlobPieceBytes - 1) / kBlobPieceBytes;
}

}  // namespace

void BlobSums::Update(Bytes bytes) {
  while (!bytes.empty()) {
    const std::size_t in_piece = blob_bytes_ % kBlobPieceBytes;
    if (in_piece == 0) sums_.push_back(0);
    const Bytes part = bytes.substr(0, kBlobPieceBytes - in_piece);
    sums_.back() = Crc32c(part, sums_.back());
    blob_bytes_ += part.size();
    bytes.remove_prefix(part.size());
  }
}

ByteString BlobSums::Encode(const BlobId& id) const {
  ByteString out(kMagic);
  AppendFixed(out, static_cast<std::uint32_t>(kBlobPieceBytes));
  AppendFixed(out, blob_bytes_);
  out += AsBytes(id);
  for (const std::uint32_t sum : sums_) AppendFixed(out, sum);
  AppendFixed(out, Crc32c(out));
  return out;
}

Result<BlobSums> BlobSums::Decode(Bytes encoded, const BlobId& id, std::uint64_t blob_bytes) {
  const std::uint64_t count = PieceCount(blob_bytes);
  const auto damaged = [&] {
    return Status::Corruption("sums of blob " + ToHex(AsBytes(id)) + ": " + std::to_string(encoded.size()) +
                              " bytes do not follow the format");
  };
  if (encoded.size() != kHeadBytes + 4 * count + 4) return damaged();
  ByteReader reader(encoded);
  const bool is_ours = reader.Take(kMagic.size()) == kMagic && reader.Fixed<std::uint32_t>() == kBlobPieceBytes &&
                       reader.Fixed<std::uint64_t>() == blob_bytes && reader.Take(id.size()) == AsBytes(id);
  if (!is_ours) return damaged();
  BlobSums sums;
  sums.blob_bytes_ = blob_bytes;
  sums.sums_.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) sums.sums_.push_back(reader.Fixed<std::uint32_t>());
  const auto crc = reader.Fixed<std::uint32_t>();
  if (!reader.ok() || crc != Crc32c(encoded.substr(0, encoded.size() - 4))) return damaged();
  return sums;
}

bool BlobSums::Matches(std::size_t piece_index, Bytes piece) const {
  return piece_index < sums_.size() && sums_[piece_index] == Crc32c(piece);
}

}  // namespace foreshore
