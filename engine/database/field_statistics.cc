#include "engine/database/field_statistics.h"

#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/field_index_builder.h"
#include "engine/database/field_key.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kStatisticsVersion = 1;
constexpr std::size_t kSampleCountMax = 100;
constexpr std::size_t kSampleBytesMax = 18;        // So that a row of statistics stays small.
constexpr std::int64_t kTakeAtOnceCount = 20'000;  // Entries that a plan may wait for: some milliseconds.
constexpr std::int64_t kMovedMin = 500;            // Log entries before statistics are old.

bool IsOld(const FieldStatistics& statistics, std::int64_t sequence) {
  const auto quarter = static_cast<std::int64_t>(statistics.entry_count / 4);
  return sequence - statistics.sequence > std::max(kMovedMin, quarter);
}

}  // namespace

double FieldStatistics::FractionBetween(Bytes begin, Bytes end) const {
  if (samples.empty()) return 1;
  // A sample is the beginning of a key, so it is compared with as much of the bounds.
  const auto below = [](const ByteString& sample, Bytes bound) { return sample < bound.substr(0, kSampleBytesMax); };
  const auto first = std::lower_bound(samples.begin(), samples.end(), begin, below);
  const auto last = end.empty() ? samples.end() : std::lower_bound(first, samples.end(), end, below);
  // Between two samples may lie anything up to their distance.
  return std::max(0.5, static_cast<double>(last - first)) / static_cast<double>(samples.size());
}

ByteString EncodeFieldStatistics(const FieldStatistics& statistics) {
  ByteString out;
  AppendFixed(out, kStatisticsVersion);
  AppendVarint(out, static_cast<std::uint64_t>(statistics.sequence));
  AppendVarint(out, statistics.entry_count);
  AppendVarint(out, statistics.distinct_counts.size());
  for (const std::uint64_t count : statistics.distinct_counts) AppendVarint(out, count);
  AppendVarint(out, statistics.samples.size());
  for (const ByteString& sample : statistics.samples) AppendPrefixed(out, sample);
  return out;
}

Result<FieldStatistics> DecodeFieldStatistics(Bytes bytes, std::size_t path_count) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  if (reader.ok() && version != kStatisticsVersion) {
    return Status::Unsupported("statistics of an index: version " + std::to_string(version) + ", expected 1");
  }
  FieldStatistics statistics;
  statistics.sequence = static_cast<std::int64_t>(reader.VarintAtMost(INT64_MAX));
  statistics.entry_count = reader.Varint();
  const std::uint64_t count = reader.VarintAtMost(kFieldIndexPathCountMax);
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) statistics.distinct_counts.push_back(reader.Varint());
  const std::uint64_t sample_count = reader.VarintAtMost(kSampleCountMax);
  for (std::uint64_t i = 0; i < sample_count && reader.ok(); ++i) statistics.samples.emplace_back(reader.Prefixed());
  if (!reader.ok() || !reader.at_end() || count != path_count) {
    return Status::Corruption("statistics of an index: " + std::to_string(bytes.size()) +
                              " bytes do not follow the format");
  }
  return statistics;
}

Result<FieldStatistics> TakeFieldStatistics(ReadView& view, const FieldIndexDefinition& index) {
  FieldStatistics statistics;
  statistics.sequence = view.sequence();
  statistics.distinct_counts.assign(index.paths.size(), 0);
  std::uint64_t stride = 1;
  ByteString before;
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view.ScanFieldIndex(index));
  for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!cursor->valid()) return statistics;
    const Bytes key = cursor->bytes_key();
    const auto common_bytes = static_cast<std::size_t>(
        std::mismatch(key.begin(), key.end(), before.begin(), before.end()).first - key.begin());
    Bytes rest = key;
    for (std::size_t i = 0; i < index.paths.size() && SkipKeyValue(rest); ++i) {
      if (statistics.entry_count == 0 || key.size() - rest.size() > common_bytes) ++statistics.distinct_counts[i];
    }
    if (statistics.entry_count++ % stride == 0) {
      statistics.samples.emplace_back(key.substr(0, kSampleBytesMax));
      if (statistics.samples.size() == kSampleCountMax) {
        stride *= 2;
        for (std::size_t i = 0; 2 * i < kSampleCountMax; ++i) statistics.samples[i] = statistics.samples[2 * i];
        statistics.samples.resize(kSampleCountMax / 2);
      }
    }
    before.assign(key);
  }
}

Result<std::shared_ptr<const FieldStatistics>> FieldStatisticsCache::Load(const FieldIndexDefinition& index) {
  FORESHORE_ASSIGN_OR_RETURN(const auto bytes, core_.GetSetting(Setting(index.id)));
  if (!bytes) return std::shared_ptr<const FieldStatistics>();
  FORESHORE_ASSIGN_OR_RETURN(FieldStatistics statistics, DecodeFieldStatistics(*bytes, index.paths.size()));
  return std::make_shared<const FieldStatistics>(std::move(statistics));
}

std::shared_ptr<const FieldStatistics> FieldStatisticsCache::Of(const FieldIndexDefinition& index) {
  Kept kept;
  bool is_known = false;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = kept_.find(index.id); found != kept_.end()) {
      kept = found->second;
      is_known = true;
    }
  }
  if (!is_known) {
    // Damaged ones count as none: they are taken anew.
    if (auto loaded = Load(index); loaded.ok()) kept.statistics = std::move(loaded).value();
    const std::lock_guard lock(mutex_);
    kept_.emplace(index.id, kept);
  }
  const std::int64_t sequence = core_.last_sequence();
  if (kept.statistics && !IsOld(*kept.statistics, sequence)) return kept.statistics;
  const std::int64_t entry_count = kept.statistics ? static_cast<std::int64_t>(kept.statistics->entry_count) : 0;
  // More cannot have come than the log has moved.
  const std::int64_t moved = sequence - (kept.statistics ? kept.statistics->sequence : 0);
  if (entry_count + moved <= kTakeAtOnceCount || !core_.options().index_in_background) {
    auto taken = Take(index.id);
    return taken.ok() ? *taken : kept.statistics;
  }
  {
    const std::lock_guard lock(mutex_);
    requests_.insert(index.id);
  }
  core_.WakeFieldIndexBuilder();
  return kept.statistics;
}

Result<std::shared_ptr<const FieldStatistics>> FieldStatisticsCache::Take(std::uint32_t index_id) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
  for (const CollectionDefinition& collection : view->catalog().collections) {
    const FieldIndexDefinition* index = collection.FindFieldIndex(index_id);
    if (index == nullptr || !index->is_ready) continue;
    FORESHORE_ASSIGN_OR_RETURN(FieldStatistics statistics, TakeFieldStatistics(*view, *index));
    auto shared = std::make_shared<const FieldStatistics>(std::move(statistics));
    const std::lock_guard lock(mutex_);
    kept_[index_id] = {shared, false};
    return shared;
  }
  return Status::NotFound("index " + std::to_string(index_id) + " does not exist");
}

Status FieldStatisticsCache::Refresh(std::uint32_t index_id) {
  FORESHORE_RETURN_IF_ERROR(Take(index_id).status());
  return Save();
}

std::set<std::uint32_t> FieldStatisticsCache::TakeRequests() {
  const std::lock_guard lock(mutex_);
  return std::exchange(requests_, {});
}

Status FieldStatisticsCache::Save() {
  std::map<std::uint32_t, std::shared_ptr<const FieldStatistics>> unsaved;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [id, kept] : kept_) {
      if (!kept.is_saved) unsaved[id] = kept.statistics;
      kept.is_saved = true;
    }
  }
  if (unsaved.empty()) return Status::Ok();
  // They are not worth waiting for: at the latest they are taken anew after the next open.
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite(std::chrono::milliseconds(100)));
  for (const CollectionDefinition& collection : view->catalog().collections) {
    for (const auto& [id, statistics] : unsaved) {
      if (collection.FindFieldIndex(id) == nullptr) continue;
      FORESHORE_RETURN_IF_ERROR(view->PutSetting(Setting(id), EncodeFieldStatistics(*statistics)));
    }
  }
  return view->Commit();
}

void FieldStatisticsCache::Forget(std::uint32_t index_id) {
  const std::lock_guard lock(mutex_);
  kept_.erase(index_id);
  requests_.erase(index_id);
}

}  // namespace foreshore
