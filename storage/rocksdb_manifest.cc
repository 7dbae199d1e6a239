#include "storage/rocksdb_manifest.h"

#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kManifestBytesMax = 1ULL << 30;

std::uint32_t Masked(std::uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

enum class Fragment { kSound, kDamaged, kPastEnd };

Fragment FragmentAt(Bytes content, std::size_t at, std::size_t& end) {
  const std::size_t block_end = (at / kManifestBlockBytes + 1) * kManifestBlockBytes;
  if (at + kManifestHeaderBytes > content.size()) return Fragment::kPastEnd;
  if (at + kManifestHeaderBytes > block_end) return Fragment::kDamaged;
  const auto length = LoadFixed<std::uint16_t>(content.data() + at + kManifestLengthOffset);
  const auto type = static_cast<unsigned char>(content[at + 6]);
  end = at + kManifestHeaderBytes + length;
  if (type < 1 || type > 4 || end > block_end) return Fragment::kDamaged;
  if (end > content.size()) return Fragment::kPastEnd;
  const std::uint32_t found = Crc32c(content.substr(at + 6, 1U + length));
  return Masked(found) == LoadFixed<std::uint32_t>(content.data() + at) ? Fragment::kSound : Fragment::kDamaged;
}

}  // namespace

std::size_t SoundManifestBytes(Bytes content) {
  std::size_t at = 0;
  std::size_t records_end = 0;  // Behind the last whole record.
  while (at < content.size()) {
    if (kManifestBlockBytes - at % kManifestBlockBytes < kManifestHeaderBytes) {
      at = (at / kManifestBlockBytes + 1) * kManifestBlockBytes;
      continue;
    }
    std::size_t end = 0;
    const Fragment fragment = FragmentAt(content, at, end);
    if (fragment == Fragment::kPastEnd) return content.size();
    if (fragment == Fragment::kDamaged) break;
    const char type = content[at + 6];
    if (type == 1 || type == 4) records_end = end;
    at = end;
  }
  if (at >= content.size()) return content.size();
  for (std::size_t later = at + 1; later < content.size(); ++later) {
    std::size_t end = 0;
    if (FragmentAt(content, later, end) == Fragment::kSound) return content.size();
  }
  return records_end;
}

Status TrimManifest(const std::string& path) {
  const Result<ByteString> current = ReadFile(path + "/CURRENT", 4096);
  if (!current.ok()) return current.status().code() == ErrorCode::kNotFound ? Status::Ok() : current.status();
  const std::string manifest = path + "/" + current->substr(0, current->find('\n'));
  const Result<ByteString> content = ReadFile(manifest, kManifestBytesMax);
  if (!content.ok()) return Status::Ok();  // RocksDB says what is wrong with it.
  const std::size_t sound = SoundManifestBytes(*content);
  if (sound == content->size()) return Status::Ok();
  Log(LogLevel::kWarning, "storage",
      "file \"" + manifest + "\": the last " + std::to_string(content->size() - sound) +
          " bytes were never completed and are cut off");
  return WriteFileAtomic(manifest, Bytes(*content).substr(0, sound));
}

}  // namespace foreshore
