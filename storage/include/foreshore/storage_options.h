// Choices about storage that users make when they create or open a database.
#pragma once

#include <cstdint>

namespace foreshore {

enum class StorageKind : std::uint8_t { kSqlite = 1, kRocksdb = 2 };  // Stored: never renumber.

enum class Durability : std::uint8_t {
  kFull = 1,    // A commit survives a power cut.
  kNormal = 2,  // A commit survives the death of the process; a power cut may lose the last ones, never tear them.
};

}  // namespace foreshore
