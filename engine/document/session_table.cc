#include "engine/document/record.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kEntryVersion = 1;

}  // namespace

std::uint32_t SessionTable::NumberOf(const SessionKey& key) {
  {
    std::shared_lock lock(mutex_);
    if (auto found = numbers_.find(key); found != numbers_.end()) return found->second;
  }
  std::unique_lock lock(mutex_);
  return AddLocked({key, false});
}

std::uint32_t SessionTable::AddLocal(const SessionKey& key) {
  std::unique_lock lock(mutex_);
  return AddLocked({key, true});
}

std::uint32_t SessionTable::AddLocked(const Entry& entry) {
  auto found = numbers_.find(entry.key);
  if (found != numbers_.end()) return found->second;
  const std::uint32_t number = entries_.empty() ? 0 : entries_.rbegin()->first + 1;
  entries_.emplace(number, entry);
  numbers_.emplace(entry.key, number);
  return number;
}

const SessionKey* SessionTable::KeyOf(std::uint32_t number) const {
  std::shared_lock lock(mutex_);
  auto found = entries_.find(number);
  return found == entries_.end() ? nullptr : &found->second.key;
}

bool SessionTable::IsLocal(const SessionKey& key) const {
  std::shared_lock lock(mutex_);
  auto found = numbers_.find(key);
  return found != numbers_.end() && entries_.at(found->second).is_local;
}

std::vector<std::pair<std::uint32_t, SessionTable::Entry>> SessionTable::Unsaved() const {
  std::shared_lock lock(mutex_);
  return {entries_.lower_bound(saved_end_), entries_.end()};
}

void SessionTable::MarkSaved(std::uint32_t number_max) {
  std::unique_lock lock(mutex_);
  saved_end_ = std::max(saved_end_, number_max + 1);
}

void SessionTable::Load(std::uint32_t number, const Entry& entry) {
  std::unique_lock lock(mutex_);
  entries_[number] = entry;
  numbers_[entry.key] = number;
  saved_end_ = std::max(saved_end_, number + 1);
}

// Version 1, 26 bytes: version, is_local, replica (16), session (8).
ByteString SessionTable::EncodeEntry(const Entry& entry) {
  ByteString out;
  AppendFixed(out, kEntryVersion);
  AppendFixed<std::uint8_t>(out, entry.is_local ? 1 : 0);
  out.append(reinterpret_cast<const char*>(entry.key.replica.data()), entry.key.replica.size());
  AppendFixed(out, entry.key.session);
  return out;
}

Result<SessionTable::Entry> SessionTable::DecodeEntry(Bytes bytes) {
  ByteReader reader(bytes);
  Entry entry;
  const std::uint8_t version = reader.Fixed<std::uint8_t>();
  const std::uint8_t is_local = reader.Fixed<std::uint8_t>();
  const Bytes replica = reader.Take(entry.key.replica.size());
  entry.key.session = reader.Fixed<std::uint64_t>();
  if (reader.ok() && version > kEntryVersion) {
    return Status::Unsupported("session entry: found version " + std::to_string(version) + ", expected " +
                               std::to_string(kEntryVersion));
  }
  if (!reader.ok() || !reader.at_end() || version != kEntryVersion || is_local > 1 || entry.key.session == 0) {
    return Status::Corruption("session entry: found " + std::to_string(bytes.size()) +
                              " bytes that do not hold together, expected 26");
  }
  std::memcpy(entry.key.replica.data(), replica.data(), replica.size());
  entry.is_local = is_local == 1;
  return entry;
}

}  // namespace foreshore
