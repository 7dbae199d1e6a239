// What a peer may send. Every limit is checked before anything of that size is allocated.
#pragma once

#include <cstddef>
#include <cstdint>

namespace foreshore {

inline constexpr std::uint32_t kSyncProtocolVersion = 1;
inline constexpr char kSyncPath[] = "/v1/sync";
inline constexpr char kSyncContentType[] = "application/x-foreshore-sync";
inline constexpr char kDefaultChannel[] = "default";

inline constexpr std::size_t kFrameBytesMax = 4 << 20;      // Compressed.
inline constexpr std::size_t kMessageBytesMax = 16 << 20;   // Inflated.
inline constexpr std::size_t kInflationRatioMax = 100;      // Inflated to compressed.
inline constexpr int kMessageDepthMax = 32;                 // Nested messages.
inline constexpr std::size_t kBatchChangeCountMax = 1'000;  // Changes of a push or a page.
inline constexpr std::size_t kChangeBytesMax = 12 << 20;    // One document's writes.
inline constexpr std::size_t kBlobChunkBytesMax = 4 << 20;
inline constexpr std::size_t kBlobIdCountMax = 1'000;  // Of one BlobHave.
inline constexpr std::size_t kPollWaitMsMax = 60'000;

inline constexpr std::size_t kSessionCountMax = 4'096;  // Of one change.
inline constexpr std::size_t kGroupCountMax = 16'384;
inline constexpr std::size_t kWriteCountMax = 65'536;  // Of one change, all groups together.
inline constexpr std::size_t kSeenCountMax = 262'144;  // The same.
inline constexpr std::uint32_t kLifeMax = 1U << 30;
// Hybrid times beyond the year 3000 are no times: they would leave a clock no room to tick.
inline constexpr std::uint64_t kHlcMax = 32'503'680'000'000ULL << 16;

}  // namespace foreshore
