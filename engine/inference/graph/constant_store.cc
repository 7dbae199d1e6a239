#include "engine/inference/graph/constant_store.h"

#include <cstring>
#include <string>
#include <utility>

#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore::graph {

namespace {

constexpr std::string_view kMagic = "FSGRAPHP";
constexpr std::uint64_t kHeaderBytes = 128;
constexpr std::uint64_t kHeaderCrcOffset = 124;
constexpr std::uint64_t kEntryBytes = 24;
constexpr std::uint32_t kBlocksMax = 1U << 20;
constexpr std::uint64_t kAlignment = AlignedBytes::kAlignment;
// Below this a block is not worth giving up: what decides while a graph is built is mostly small.
constexpr std::uint64_t kGivenUpBytesMin = 4'096;

Status Corrupt(const std::string& what) {
  return Status::Corruption("packed graph: " + what);
}

ByteString HeaderOf(const PackedGraphKey& key, std::uint64_t size_bytes, std::size_t count, std::uint32_t body_crc) {
  ByteString header(kMagic);
  AppendFixed(header, kPackedGraphVersion);
  AppendFixed(header, static_cast<std::uint32_t>(key.level));
  header.append(reinterpret_cast<const char*>(key.source.data()), key.source.size());
  AppendFixed(header, key.memory_bytes_max);
  AppendFixed(header, size_bytes);
  AppendFixed(header, static_cast<std::uint32_t>(count));
  AppendFixed(header, body_crc);
  header.resize(kHeaderCrcOffset, '\0');
  AppendFixed(header, Crc32c(header));
  return header;
}

// Returns how many blocks there are.
Result<std::uint32_t> CheckHeader(Bytes packed, const PackedGraphKey& key) {
  if (packed.size() < kHeaderBytes) {
    return Corrupt("has " + std::to_string(packed.size()) + " bytes, the header alone needs 128");
  }
  if (packed.substr(0, kMagic.size()) != kMagic) return Corrupt("starts with the wrong magic, expected FSGRAPHP");
  if (Crc32c(packed.substr(0, kHeaderCrcOffset)) != LoadFixed<std::uint32_t>(packed.data() + kHeaderCrcOffset)) {
    return Corrupt("header checksum does not match");
  }
  const auto version = LoadFixed<std::uint32_t>(packed.data() + 8);
  PackedGraphKey found;
  found.level = static_cast<CpuLevel>(LoadFixed<std::uint32_t>(packed.data() + 12));
  std::memcpy(found.source.data(), packed.data() + 16, found.source.size());
  found.memory_bytes_max = LoadFixed<std::uint64_t>(packed.data() + 48);
  const auto size_bytes = LoadFixed<std::uint64_t>(packed.data() + 56);
  const auto count = LoadFixed<std::uint32_t>(packed.data() + 64);
  const auto body_crc = LoadFixed<std::uint32_t>(packed.data() + 68);
  if (version != kPackedGraphVersion) {
    return Status::Unsupported("packed graph: version " + std::to_string(version) + ", this build reads version " +
                               std::to_string(kPackedGraphVersion));
  }
  if (!(found == key)) {
    return Status::Unsupported("packed graph: made of another file, for another processor or under another limit");
  }
  if (size_bytes != packed.size()) {
    return Corrupt("has " + std::to_string(packed.size()) + " bytes and says " + std::to_string(size_bytes));
  }
  if (count > kBlocksMax || kHeaderBytes + count * kEntryBytes > packed.size()) {
    return Corrupt("says " + std::to_string(count) + " blocks, more than fit");
  }
  if (Crc32c(packed.substr(kHeaderBytes)) != body_crc) return Corrupt("body checksum does not match");
  return count;
}

}  // namespace

Result<std::shared_ptr<ConstantStore>> ConstantStore::Open(Bytes packed, const PackedGraphKey& key) {
  if (reinterpret_cast<std::uintptr_t>(packed.data()) % kAlignment != 0) {
    return Status::InvalidArgument("packed graph: bytes start at an address that is not a multiple of 64");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::uint32_t count, CheckHeader(packed, key));
  auto store = std::make_shared<ConstantStore>();
  store->is_packed_ = true;
  for (std::uint32_t i = 0; i < count; ++i) {
    const char* entry = packed.data() + kHeaderBytes + i * kEntryBytes;
    const auto offset = LoadFixed<std::uint64_t>(entry + 8);
    const auto size_bytes = LoadFixed<std::uint64_t>(entry + 16);
    if (offset != 0 && (offset % kAlignment != 0 || offset > packed.size() || size_bytes > packed.size() - offset)) {
      return Corrupt("block " + std::to_string(i) + " lies at " + std::to_string(offset) + " with " +
                     std::to_string(size_bytes) + " bytes, the file has " + std::to_string(packed.size()));
    }
    const bool is_there = offset != 0;
    store->entries_.push_back({LoadFixed<std::uint64_t>(entry),
                               is_there ? reinterpret_cast<const std::byte*>(packed.data()) + offset : nullptr,
                               size_bytes});
  }
  return store;
}

Result<ConstantStore::Block> ConstantStore::Take(std::string_view what, std::uint64_t size_bytes) {
  const std::uint64_t label = Fnv1a64(what);
  taken_bytes_ += size_bytes;
  if (is_packed_) {
    if (next_ == entries_.size() || entries_[next_].label != label || entries_[next_].size_bytes != size_bytes) {
      return Corrupt("block " + std::to_string(next_) + " is not \"" + std::string(what.substr(0, 128)) + "\" of " +
                     std::to_string(size_bytes) + " bytes, as building the graph expects");
    }
    return Block{entries_[next_++].data, nullptr};
  }
  FORESHORE_ASSIGN_OR_RETURN(AlignedBytes bytes, AlignedBytes::Make(size_bytes));
  const Block block{bytes.data(), bytes.data()};
  entries_.push_back({label, bytes.data(), size_bytes});
  owned_.push_back(std::move(bytes));
  ++next_;
  return block;
}

std::uint64_t ConstantStore::GiveUp(std::unordered_set<const std::byte*>& blocks) {
  std::unordered_set<const std::byte*> gone;
  std::uint64_t given_up_bytes = 0;
  for (std::size_t i = 0; !is_packed_ && i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (entry.size_bytes < kGivenUpBytesMin || !blocks.contains(entry.data)) continue;
    gone.insert(entry.data);
    given_up_bytes += entry.size_bytes;
    entry.data = nullptr;
    owned_[i] = AlignedBytes();
  }
  blocks = std::move(gone);
  return given_up_bytes;
}

ByteString ConstantStore::Pack(const PackedGraphKey& key) const {
  std::uint64_t end = AlignedBytes::RoundUp(kHeaderBytes + entries_.size() * kEntryBytes);
  std::vector<std::uint64_t> offsets;
  for (const Entry& entry : entries_) {
    offsets.push_back(entry.data != nullptr ? end : 0);
    if (entry.data == nullptr) continue;
    end = AlignedBytes::RoundUp(end + entry.size_bytes);
  }
  ByteString packed(end, '\0');
  ByteString table;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    AppendFixed(table, entries_[i].label);
    AppendFixed(table, offsets[i]);
    AppendFixed(table, entries_[i].size_bytes);
    if (entries_[i].data == nullptr || entries_[i].size_bytes == 0) continue;
    std::memcpy(packed.data() + offsets[i], entries_[i].data, entries_[i].size_bytes);
  }
  std::memcpy(packed.data() + kHeaderBytes, table.data(), table.size());
  const ByteString header = HeaderOf(key, end, entries_.size(), Crc32c(Bytes(packed).substr(kHeaderBytes)));
  std::memcpy(packed.data(), header.data(), header.size());
  return packed;
}

}  // namespace foreshore::graph
