// What the gateway keeps: the channel's log, how far each device has pushed, and blobs. The embedded store implements
// it; a gateway on a database server would implement it anew.
//
// Invariants: sequences start at 1, have no gaps, and their order is the order of commits. A batch's entries, the head
// and the device's position commit together or not at all.
//
// Threads: safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "foreshore/status.h"
#include "storage/blob_store.h"
#include "storage/database_directory.h"
#include "sync/protocol/chain.h"

namespace foreshore {

struct AppendRequest {
  ReplicaId replica{};
  ChainPosition base;
  std::optional<ChainId> replaces;
  LogPosition cursor;                        // What the changes may build on.
  std::span<const ByteString> changes;       // Borrowed during the call.
  std::span<const std::uint32_t> unit_ends;  // The same.
};

struct AppendOutcome {
  enum class Kind {
    kAppended,       // Now, or by an earlier attempt whose reply was lost.
    kChainMismatch,  // `acknowledged` is what is there.
    kCursorUnknown,  // The cursor is not of this log.
  };
  Kind kind = Kind::kAppended;
  std::optional<ChainPosition> acknowledged;
  LogPosition head;
};

struct ReadRequest {
  LogPosition cursor;
  std::int64_t target = 0;  // 0: the head.
  std::size_t change_count_max = 0;
  std::size_t page_bytes_max = 0;
  std::optional<ChainId> leave_out;
};

struct LogPage {
  bool cursor_is_known = true;  // False: nothing else counts but `head`.
  std::vector<ByteString> changes;
  LogPosition next;
  LogPosition head;
};

class GatewayStore {
 public:
  virtual ~GatewayStore() = default;

  virtual Result<LogPosition> Head() = 0;
  // Whether the position is one of this log's: false after the gateway lost what it once handed out.
  virtual Result<bool> Holds(const LogPosition& position) = 0;
  virtual Result<std::optional<ChainPosition>> Acknowledged(const ReplicaId& replica) = 0;
  virtual Result<AppendOutcome> Append(const AppendRequest& request) = 0;
  // Entries after the cursor, ending where a unit ends. At least one unit, even where it is above the limits.
  virtual Result<LogPage> Read(const ReadRequest& request) = 0;
  virtual BlobStore& blobs() = 0;
};

// Everything in one directory of this machine. kBusy while another gateway has it.
Result<std::unique_ptr<GatewayStore>> OpenEmbeddedGatewayStore(const std::string& path, Durability durability);

}  // namespace foreshore
