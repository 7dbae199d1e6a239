// QueryReservoir: what is asked of a vector index, kept for measuring its recall by.
#include <algorithm>
#include <utility>

#include "engine/database/recall_sample.h"
#include "index/quantizer.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kOneOf = 16;           // Queries that a full reservoir takes.
constexpr std::uint64_t kUnsavedFraction = 4;  // Of it, new, are worth writing.
constexpr std::uint8_t kSavedVersion = 1;
constexpr std::size_t kSavedHeaderBytes = 4;

}  // namespace

void QueryReservoir::Note(std::span<const float> query) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  const std::uint64_t number = noted_count_++;
  try {
    if (queries_.size() < kCapacity) {
      queries_.emplace_back(query.begin(), query.end());
    } else {
      // Drawn by the query too: where every session asks once, its number is always the same.
      const std::uint32_t asked = Crc32c(Bytes(reinterpret_cast<const char*>(query.data()), query.size_bytes()));
      const std::uint64_t drawn = ((asked + number) * 0x9E3779B97F4A7C15ULL) >> 32;
      if (drawn % kOneOf != 0) return;
      queries_[drawn / kOneOf % kCapacity].assign(query.begin(), query.end());
    }
    ++unsaved_count_;
  } catch (const std::bad_alloc&) {
    // A query more or less: the search itself says where memory is short.
  }
}

std::vector<RecallQuery> QueryReservoir::Copy() const {
  const std::lock_guard lock(mutex_);
  std::vector<RecallQuery> copy;
  for (const std::vector<float>& query : queries_) copy.push_back({query});
  return copy;
}

std::size_t QueryReservoir::size() const {
  const std::lock_guard lock(mutex_);
  return queries_.size();
}

std::optional<ByteString> QueryReservoir::TakeUnsaved(bool is_closing) {
  const std::lock_guard lock(mutex_);
  if (unsaved_count_ == 0 || (!is_closing && unsaved_count_ < kCapacity / kUnsavedFraction)) return std::nullopt;
  const auto dimension = static_cast<std::uint32_t>(queries_[0].size());
  const std::size_t record_bytes = kVectorRecordHeaderBytes + std::size_t{2} * dimension;
  const std::size_t count = std::min(queries_.size(), kSavedBytesMax / record_bytes);
  ByteString saved;
  AppendFixed(saved, kSavedVersion);
  AppendFixed(saved, static_cast<std::uint16_t>(dimension));
  AppendFixed(saved, static_cast<std::uint8_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    const auto record = EncodeVectorRecord(queries_[i], dimension, VectorPrecision::kInt16);
    if (!record.ok()) return std::nullopt;  // Searches take no such query.
    saved += *record;
  }
  unsaved_count_ = 0;
  return saved;
}

Status QueryReservoir::Restore(Bytes saved, std::uint32_t dimension) {
  const auto corrupt = [&] {
    return Status::Corruption("saved queries of " + std::to_string(saved.size()) + " bytes do not follow the format");
  };
  ByteReader reader(saved);
  const auto version = reader.Fixed<std::uint8_t>();
  const auto saved_dimension = reader.Fixed<std::uint16_t>();
  const auto count = reader.Fixed<std::uint8_t>();
  if (!reader.ok()) return corrupt();
  if (version != kSavedVersion) {
    return Status::Unsupported("saved queries: version " + std::to_string(version) + ", expected 1");
  }
  const std::size_t record_bytes = kVectorRecordHeaderBytes + std::size_t{2} * dimension;
  if (saved_dimension != dimension || count < 1 || count > kCapacity ||
      saved.size() != kSavedHeaderBytes + count * record_bytes) {
    return corrupt();
  }
  std::vector<std::vector<float>> queries;
  for (std::size_t i = 0; i < count; ++i) {
    FORESHORE_ASSIGN_OR_RETURN(const VectorRecord record, DecodeVectorRecord(reader.Take(record_bytes), dimension));
    if (record.fine_codes.empty()) return corrupt();
    DequantizeVector(record, queries.emplace_back(dimension));
    if (!CheckVector("saved query", queries.back(), dimension).ok()) return corrupt();  // Of too large a scale.
  }
  const std::lock_guard lock(mutex_);
  queries_ = std::move(queries);
  noted_count_ = queries_.size();
  unsaved_count_ = 0;
  return Status::Ok();
}

}  // namespace foreshore
