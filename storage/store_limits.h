// What a keyspace may be called and an entry may weigh, the same on every backend.
#pragma once

#include <string>
#include <string_view>

#include "foreshore/status.h"
#include "storage/store.h"

namespace foreshore {

inline constexpr std::size_t kKeyspaceNameBytesMax = 64;

// kInvalidArgument unless `name` has 1 to 64 ASCII letters, digits, '_' and '.'.
inline Status CheckKeyspaceName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  };
  bool good = !name.empty() && name.size() <= kKeyspaceNameBytesMax;
  for (const char c : name) good = good && allowed(c);
  if (good) return Status::Ok();
  return Status::InvalidArgument("keyspace name of " + std::to_string(name.size()) +
                                 " bytes: expected 1 to 64 letters, digits, '_' or '.'");
}

// kLimit where a key and a value of these sizes do not fit into a byte keyspace.
inline Status CheckEntryBytes(std::size_t key_bytes, std::size_t value_bytes) {
  if (key_bytes <= kEntryBytesMax && value_bytes <= kEntryBytesMax - key_bytes) return Status::Ok();
  return Status::Limit("entry: key of " + std::to_string(key_bytes) + " and value of " + std::to_string(value_bytes) +
                       " bytes, expected at most " + std::to_string(kEntryBytesMax) + " together");
}

// kLimit where a value of this size does not fit into an integer keyspace.
inline Status CheckValueBytes(std::size_t value_bytes) {
  if (value_bytes <= kValueBytesMax) return Status::Ok();
  return Status::Limit("value of " + std::to_string(value_bytes) + " bytes, expected at most " +
                       std::to_string(kValueBytesMax));
}

}  // namespace foreshore
