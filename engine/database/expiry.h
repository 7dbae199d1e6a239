// When documents expire. A collection may name a top-level field that holds the time; an expired document is hidden
// from every view whose time has reached it, until the field is written anew or the document is purged.
//
// The field is an ordinary register: it merges and syncs as any other. Keyspace "e{collection id}" holds an entry for
// each living document with such a time, in order of time, so that purging and waking up scan only what is due.
//
// Threads: free functions; those that take a transaction follow its rule.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/catalog.h"
#include "foreshore/bytes.h"
#include "storage/store.h"

namespace foreshore {

// Milliseconds since 1970 from a JSON token: a number of seconds (from 1e11 on: of milliseconds), or a string as of ISO
// 8601 ("2026-11-25", "2026-11-25T23:15:00Z", "… 23:15:00.250+01:00"; without an offset it is UTC). nullopt for
// anything else: such a document does not expire.
std::optional<std::int64_t> ParseExpiry(std::string_view token);
// Of a document of the collection; nullopt for never, and for an empty body.
std::optional<std::int64_t> ExpiryOf(std::string_view expiry_field, std::string_view body);
inline bool IsExpired(std::string_view expiry_field, std::string_view body, std::int64_t now_unix_ms) {
  if (expiry_field.empty()) return false;
  const auto expiry = ExpiryOf(expiry_field, body);
  return expiry && *expiry <= now_unix_ms;
}

struct ExpiryEntry {
  std::int64_t unix_ms = 0;
  std::int64_t docid = 0;
};
// Keeps the entry in step with a document whose body changed (empty: it is not there).
Status FollowExpiry(WriteTxn& txn, const CollectionDefinition& collection, std::int64_t docid,
                    std::string_view old_body, std::string_view body);
Status PutExpiry(WriteTxn& txn, const CollectionDefinition& collection, const ExpiryEntry& entry);
// Visits entries with after < time <= until, in order of time, until `visit` returns false.
Status VisitExpiries(ReadTxn& txn, const CollectionDefinition& collection, std::int64_t after_unix_ms,
                     std::int64_t until_unix_ms, const std::function<bool(const ExpiryEntry&)>& visit);
// The first time after `after_unix_ms` at which a document of the collection expires.
Result<std::optional<std::int64_t>> NextExpiry(ReadTxn& txn, const CollectionDefinition& collection,
                                               std::int64_t after_unix_ms);

}  // namespace foreshore
