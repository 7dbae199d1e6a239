// Requests and replies as values. Protobuf stays inside messages.cc and document_codec.cc.
//
// Decoding accepts bytes from anyone: every length and count is bounded before it is used. Changes stay encoded
// (sync/protocol/document_codec.h decodes one).
//
// Threads: values and free functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "storage/blob_store.h"
#include "storage/database_directory.h"
#include "sync/protocol/chain.h"

namespace foreshore {

struct HelloRequest {
  LogPosition cursor;
};
struct PushRequest {
  ChainPosition base;
  std::optional<ChainId> replaces;
  std::vector<ByteString> changes;
  std::vector<std::uint32_t> unit_ends;  // Ascending; the last is changes.size() - 1.
  LogPosition cursor;
};
struct PullRequest {
  LogPosition cursor;
  std::int64_t target = 0;  // 0: the head.
  std::uint32_t change_count_max = 0;
  std::uint32_t page_bytes_max = 0;
  std::uint32_t wait_ms = 0;
  std::optional<ChainPosition> own;
};
struct BlobHaveRequest {
  std::vector<BlobId> ids;
};
struct BlobPutRequest {
  BlobId id{};
  std::uint64_t size_bytes = 0;
  std::uint64_t offset = 0;
  ByteString data;
};
struct BlobGetRequest {
  BlobId id{};
  std::uint64_t offset = 0;
  std::uint32_t bytes_max = 0;
};

struct SyncRequest {
  std::string channel;
  ReplicaId replica{};
  std::variant<HelloRequest, PushRequest, PullRequest, BlobHaveRequest, BlobPutRequest, BlobGetRequest> body;
};

struct HelloReply {
  std::int64_t server_unix_ms = 0;
  LogPosition head;
  std::optional<ChainPosition> acknowledged;
};
struct PushReply {
  ChainPosition acknowledged;
  LogPosition head;
};
struct ForkedReply {
  std::optional<ChainPosition> acknowledged;
};
struct ClockRefusedReply {
  std::int64_t server_unix_ms = 0;
  std::int64_t ahead_ms = 0;
};
struct PageReply {
  std::vector<ByteString> changes;
  LogPosition next;
  std::int64_t head = 0;
};
struct UpToDateReply {
  std::int64_t head = 0;
};
struct MustResyncReply {
  LogPosition head;
};
struct RevokedReply {
  std::string channel;
};
struct BlobNeedReply {
  struct Item {
    BlobId id{};
    std::uint64_t offset = 0;
  };
  std::vector<Item> items;
};
struct BlobChunkReply {
  BlobId id{};
  bool absent = false;
  std::uint64_t size_bytes = 0;
  std::uint64_t offset = 0;
  ByteString data;
};
struct RefusedReply {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

using SyncReply = std::variant<HelloReply, PushReply, ForkedReply, ClockRefusedReply, PageReply, UpToDateReply,
                               MustResyncReply, RevokedReply, BlobNeedReply, BlobChunkReply, RefusedReply>;

ByteString EncodeRequest(const SyncRequest& request);
ByteString EncodeReply(const SyncReply& reply);
// kCorruption for bytes that are no message, kLimit above a limit, kUnsupported for another protocol version.
Result<SyncRequest> DecodeRequest(Bytes message);
Result<SyncReply> DecodeReply(Bytes message);

}  // namespace foreshore
