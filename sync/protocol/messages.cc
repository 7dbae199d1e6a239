#include "sync/protocol/messages.h"

#include <algorithm>
#include <array>
#include <memory>
#include <type_traits>

#include "foreshore_sync.pb.h"
#include "sync/protocol/limits.h"
#include "sync/protocol/protobuf_parse.h"
#include "sync/protocol/wire_shape.h"

namespace foreshore {
namespace {

namespace pb = sync::v1;

// What a Request and a Reply may hold; see foreshore_sync.proto for the numbers.
constexpr std::array<FieldShape, 4> kPushFields = {
    {{1, 1, nullptr}, {2, 1, nullptr}, {3, kBatchChangeCountMax, nullptr}, {4, kBatchChangeCountMax, nullptr}}};
constexpr MessageShape kPushShape = {"push", kPushFields};
constexpr std::array<FieldShape, 1> kHaveFields = {{{1, kBlobIdCountMax, nullptr}}};
constexpr MessageShape kHaveShape = {"blob have", kHaveFields};
constexpr std::array<FieldShape, 1> kPageFields = {{{1, kBatchChangeCountMax, nullptr}}};
constexpr MessageShape kPageShape = {"page", kPageFields};
constexpr std::array<FieldShape, 1> kNeedFields = {{{1, kBlobIdCountMax, nullptr}}};
constexpr MessageShape kNeedShape = {"blob need", kNeedFields};
constexpr std::array<FieldShape, 2> kRequestFields = {{{11, 1, &kPushShape}, {13, 1, &kHaveShape}}};
constexpr MessageShape kRequestShape = {"request", kRequestFields};
constexpr std::array<FieldShape, 2> kReplyFields = {{{5, 1, &kPageShape}, {9, 1, &kNeedShape}}};
constexpr MessageShape kReplyShape = {"reply", kReplyFields};
constexpr std::size_t kMessageFieldCountMax = 8'192;

constexpr std::size_t kChannelBytesMax = 64;
constexpr std::size_t kRefusalBytesMax = 1'024;

Status Malformed(std::string_view what) {
  return Status::Corruption("sync message: " + std::string(what));
}

template <std::size_t kSize>
std::string ToWire(const std::array<std::uint8_t, kSize>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), kSize};
}
template <std::size_t kSize>
Status FromWire(const std::string& wire, std::string_view what, std::array<std::uint8_t, kSize>& bytes) {
  if (wire.size() != kSize) {
    return Malformed(std::string(what) + " has " + std::to_string(wire.size()) + " bytes, expected " +
                     std::to_string(kSize));
  }
  std::copy(wire.begin(), wire.end(), bytes.begin());
  return Status::Ok();
}

void ToWire(const ChainPosition& position, pb::ChainPosition& wire) {
  wire.set_chain(ToWire(position.chain));
  wire.set_sequence(position.sequence);
  wire.set_hash(ToWire(position.hash));
}
Result<ChainPosition> FromWire(const pb::ChainPosition& wire) {
  ChainPosition position;
  FORESHORE_RETURN_IF_ERROR(FromWire(wire.chain(), "chain", position.chain));
  FORESHORE_RETURN_IF_ERROR(FromWire(wire.hash(), "chain hash", position.hash));
  if (wire.sequence() >= 1ULL << 62) return Malformed("chain sequence out of range");
  position.sequence = wire.sequence();
  return position;
}
void ToWire(const LogPosition& position, pb::LogPosition& wire) {
  wire.set_sequence(static_cast<std::uint64_t>(position.sequence));
  if (position.sequence != 0) wire.set_hash(ToWire(position.hash));
}
Result<std::int64_t> SequenceFromWire(std::uint64_t sequence) {
  if (sequence >= 1ULL << 62) return Malformed("log sequence out of range");
  return static_cast<std::int64_t>(sequence);
}
Result<LogPosition> FromWire(const pb::LogPosition& wire) {
  LogPosition position;
  FORESHORE_ASSIGN_OR_RETURN(position.sequence, SequenceFromWire(wire.sequence()));
  if (position.sequence != 0) FORESHORE_RETURN_IF_ERROR(FromWire(wire.hash(), "log hash", position.hash));
  return position;
}

struct RequestEncoder {
  pb::Request& wire;

  void operator()(const HelloRequest& hello) { ToWire(hello.cursor, *wire.mutable_hello()->mutable_cursor()); }
  void operator()(const PushRequest& push) {
    pb::PushBatch& to = *wire.mutable_push();
    ToWire(push.base, *to.mutable_base());
    if (push.replaces) to.set_replaces(ToWire(*push.replaces));
    for (const ByteString& change : push.changes) to.add_changes(change);
    for (std::uint32_t end : push.unit_ends) to.add_unit_ends(end);
    ToWire(push.cursor, *to.mutable_cursor());
  }
  void operator()(const PullRequest& pull) {
    pb::Pull& to = *wire.mutable_pull();
    ToWire(pull.cursor, *to.mutable_cursor());
    to.set_target(static_cast<std::uint64_t>(pull.target));
    to.set_change_count_max(pull.change_count_max);
    to.set_page_bytes_max(pull.page_bytes_max);
    to.set_wait_ms(pull.wait_ms);
    if (pull.own) ToWire(*pull.own, *to.mutable_own());
  }
  void operator()(const BlobHaveRequest& have) {
    pb::BlobHave& to = *wire.mutable_blob_have();
    for (const BlobId& id : have.ids) to.add_ids(ToWire(id));
  }
  void operator()(const BlobPutRequest& put) {
    pb::BlobPut& to = *wire.mutable_blob_put();
    to.set_id(ToWire(put.id));
    to.set_size_bytes(put.size_bytes);
    to.set_offset(put.offset);
    to.set_data(put.data);
  }
  void operator()(const BlobGetRequest& get) {
    pb::BlobGet& to = *wire.mutable_blob_get();
    to.set_id(ToWire(get.id));
    to.set_offset(get.offset);
    to.set_bytes_max(get.bytes_max);
  }
};

struct ReplyEncoder {
  pb::Reply& wire;

  void operator()(const HelloReply& reply) {
    pb::HelloReply& to = *wire.mutable_hello();
    to.set_server_unix_ms(reply.server_unix_ms);
    ToWire(reply.head, *to.mutable_head());
    if (reply.acknowledged) ToWire(*reply.acknowledged, *to.mutable_acknowledged());
  }
  void operator()(const PushReply& reply) {
    ToWire(reply.acknowledged, *wire.mutable_push()->mutable_acknowledged());
    ToWire(reply.head, *wire.mutable_push()->mutable_head());
  }
  void operator()(const ForkedReply& reply) {
    pb::Forked& to = *wire.mutable_forked();
    if (reply.acknowledged) ToWire(*reply.acknowledged, *to.mutable_acknowledged());
  }
  void operator()(const ClockRefusedReply& reply) {
    wire.mutable_clock_refused()->set_server_unix_ms(reply.server_unix_ms);
    wire.mutable_clock_refused()->set_ahead_ms(reply.ahead_ms);
  }
  void operator()(const PageReply& reply) {
    pb::Page& to = *wire.mutable_page();
    for (const ByteString& change : reply.changes) to.add_changes(change);
    ToWire(reply.next, *to.mutable_next());
    to.set_head(static_cast<std::uint64_t>(reply.head));
  }
  void operator()(const UpToDateReply& reply) {
    wire.mutable_up_to_date()->set_head(static_cast<std::uint64_t>(reply.head));
  }
  void operator()(const MustResyncReply& reply) { ToWire(reply.head, *wire.mutable_must_resync()->mutable_head()); }
  void operator()(const RevokedReply& reply) { wire.mutable_revoked()->set_channel(reply.channel); }
  void operator()(const BlobNeedReply& reply) {
    pb::BlobNeed& to = *wire.mutable_blob_need();
    for (const BlobNeedReply::Item& item : reply.items) {
      pb::BlobNeed::Item& added = *to.add_items();
      added.set_id(ToWire(item.id));
      added.set_offset(item.offset);
    }
  }
  void operator()(const BlobChunkReply& reply) {
    pb::BlobChunk& to = *wire.mutable_blob_chunk();
    to.set_id(ToWire(reply.id));
    to.set_absent(reply.absent);
    to.set_size_bytes(reply.size_bytes);
    to.set_offset(reply.offset);
    to.set_data(reply.data);
  }
  void operator()(const RefusedReply& reply) {
    wire.mutable_refused()->set_code(static_cast<std::uint32_t>(reply.code));
    wire.mutable_refused()->set_message(reply.message.substr(0, kRefusalBytesMax));
  }
};

Status CheckBlobRange(std::uint64_t size_bytes, std::uint64_t offset, std::size_t data_bytes) {
  if (size_bytes > kBlobBytesMax) {
    return Status::Limit("blob: " + std::to_string(size_bytes) + " bytes, at most " + std::to_string(kBlobBytesMax));
  }
  if (data_bytes > kBlobChunkBytesMax) return Status::Limit("blob: chunk above " + std::to_string(kBlobChunkBytesMax));
  if (offset > size_bytes || data_bytes > size_bytes - offset) return Malformed("blob chunk beyond the blob's end");
  return Status::Ok();
}

Result<HelloRequest> DecodeHello(const pb::Hello& wire) {
  HelloRequest hello;
  FORESHORE_ASSIGN_OR_RETURN(hello.cursor, FromWire(wire.cursor()));
  return hello;
}

Result<PushRequest> DecodePush(const pb::PushBatch& wire) {
  PushRequest push;
  FORESHORE_ASSIGN_OR_RETURN(push.base, FromWire(wire.base()));
  if (!wire.replaces().empty()) {
    FORESHORE_RETURN_IF_ERROR(FromWire(wire.replaces(), "replaced chain", push.replaces.emplace()));
  }
  if (wire.changes().empty()) return Malformed("push without changes");
  if (static_cast<std::size_t>(wire.changes_size()) > kBatchChangeCountMax)
    return Status::Limit("push: too many changes");
  for (const std::string& change : wire.changes()) {
    if (change.size() > kChangeBytesMax) return Status::Limit("push: change above " + std::to_string(kChangeBytesMax));
  }
  push.changes.assign(wire.changes().begin(), wire.changes().end());
  std::int64_t previous = -1;
  for (std::uint32_t end : wire.unit_ends()) {
    if (end <= previous || end >= push.changes.size()) return Malformed("push: unit ends out of order");
    previous = end;
    push.unit_ends.push_back(end);
  }
  if (previous != static_cast<std::int64_t>(push.changes.size()) - 1) return Malformed("push: last unit has no end");
  FORESHORE_ASSIGN_OR_RETURN(push.cursor, FromWire(wire.cursor()));
  return push;
}

Result<PullRequest> DecodePull(const pb::Pull& wire) {
  PullRequest pull;
  FORESHORE_ASSIGN_OR_RETURN(pull.cursor, FromWire(wire.cursor()));
  FORESHORE_ASSIGN_OR_RETURN(pull.target, SequenceFromWire(wire.target()));
  pull.change_count_max = wire.change_count_max();
  pull.page_bytes_max = wire.page_bytes_max();
  pull.wait_ms = wire.wait_ms();
  if (wire.has_own()) {
    FORESHORE_ASSIGN_OR_RETURN(pull.own, FromWire(wire.own()));
  }
  return pull;
}

Result<BlobHaveRequest> DecodeHave(const pb::BlobHave& wire) {
  BlobHaveRequest have;
  for (const std::string& id : wire.ids()) {
    FORESHORE_RETURN_IF_ERROR(FromWire(id, "blob id", have.ids.emplace_back()));
  }
  return have;
}

Result<BlobPutRequest> DecodePut(const pb::BlobPut& wire) {
  BlobPutRequest put;
  FORESHORE_RETURN_IF_ERROR(FromWire(wire.id(), "blob id", put.id));
  put.size_bytes = wire.size_bytes();
  put.offset = wire.offset();
  FORESHORE_RETURN_IF_ERROR(CheckBlobRange(put.size_bytes, put.offset, wire.data().size()));
  put.data = wire.data();
  return put;
}

Result<BlobGetRequest> DecodeGet(const pb::BlobGet& wire) {
  BlobGetRequest get;
  FORESHORE_RETURN_IF_ERROR(FromWire(wire.id(), "blob id", get.id));
  get.offset = wire.offset();
  get.bytes_max = wire.bytes_max();
  return get;
}

Result<PageReply> DecodePage(const pb::Page& wire) {
  PageReply page;
  page.changes.assign(wire.changes().begin(), wire.changes().end());
  FORESHORE_ASSIGN_OR_RETURN(page.next, FromWire(wire.next()));
  FORESHORE_ASSIGN_OR_RETURN(page.head, SequenceFromWire(wire.head()));
  return page;
}

Result<BlobNeedReply> DecodeNeed(const pb::BlobNeed& wire) {
  BlobNeedReply need;
  for (const pb::BlobNeed::Item& item : wire.items()) {
    BlobNeedReply::Item& added = need.items.emplace_back();
    FORESHORE_RETURN_IF_ERROR(FromWire(item.id(), "blob id", added.id));
    added.offset = item.offset();
  }
  return need;
}

Result<BlobChunkReply> DecodeChunk(const pb::BlobChunk& wire) {
  BlobChunkReply chunk;
  FORESHORE_RETURN_IF_ERROR(FromWire(wire.id(), "blob id", chunk.id));
  FORESHORE_RETURN_IF_ERROR(CheckBlobRange(wire.size_bytes(), wire.offset(), wire.data().size()));
  chunk.absent = wire.absent();
  chunk.size_bytes = wire.size_bytes();
  chunk.offset = wire.offset();
  chunk.data = wire.data();
  return chunk;
}

RefusedReply DecodeRefused(const pb::Refused& wire) {
  RefusedReply refused;
  bool is_known = wire.code() >= 1 && wire.code() <= static_cast<std::uint32_t>(ErrorCode::kInternal);
  refused.code = is_known ? static_cast<ErrorCode>(wire.code()) : ErrorCode::kInternal;
  refused.message = wire.message().substr(0, kRefusalBytesMax);
  return refused;
}

Result<HelloReply> DecodeHelloReply(const pb::HelloReply& wire) {
  HelloReply reply;
  reply.server_unix_ms = wire.server_unix_ms();
  FORESHORE_ASSIGN_OR_RETURN(reply.head, FromWire(wire.head()));
  if (wire.has_acknowledged()) {
    FORESHORE_ASSIGN_OR_RETURN(reply.acknowledged, FromWire(wire.acknowledged()));
  }
  return reply;
}

Result<PushReply> DecodePushReply(const pb::PushReply& wire) {
  PushReply reply;
  FORESHORE_ASSIGN_OR_RETURN(reply.acknowledged, FromWire(wire.acknowledged()));
  FORESHORE_ASSIGN_OR_RETURN(reply.head, FromWire(wire.head()));
  return reply;
}

Result<ForkedReply> DecodeForked(const pb::Forked& wire) {
  ForkedReply reply;
  if (wire.has_acknowledged()) {
    FORESHORE_ASSIGN_OR_RETURN(reply.acknowledged, FromWire(wire.acknowledged()));
  }
  return reply;
}

// Result<Alternative> into a Result of the variant.
template <typename Variant, typename Alternative>
Result<Variant> Widen(Result<Alternative> result) {
  if (!result.ok()) return result.status();
  return Variant(std::move(result).value());
}

}  // namespace

ByteString EncodeRequest(const SyncRequest& request) {
  pb::Request wire;
  wire.set_protocol(kSyncProtocolVersion);
  wire.set_channel(request.channel);
  wire.set_replica(ToWire(request.replica));
  std::visit(RequestEncoder{wire}, request.body);
  return wire.SerializeAsString();
}

ByteString EncodeReply(const SyncReply& reply) {
  pb::Reply wire;
  std::visit(ReplyEncoder{wire}, reply);
  return wire.SerializeAsString();
}

Result<SyncRequest> DecodeRequest(Bytes message) {
  FORESHORE_RETURN_IF_ERROR(CheckShape(message, kRequestShape, kMessageFieldCountMax));
  pb::Request wire;
  FORESHORE_RETURN_IF_ERROR(ParseBounded(message, wire));
  if (wire.protocol() != kSyncProtocolVersion) {
    return Status::Unsupported("sync protocol version " + std::to_string(wire.protocol()) + ", expected " +
                               std::to_string(kSyncProtocolVersion));
  }
  SyncRequest request;
  if (wire.channel().empty() || wire.channel().size() > kChannelBytesMax) return Malformed("channel name out of range");
  request.channel = wire.channel();
  FORESHORE_RETURN_IF_ERROR(FromWire(wire.replica(), "replica", request.replica));
  using Body = decltype(request.body);
  Result<Body> body = Malformed("request of an unknown kind");
  switch (wire.body_case()) {
    case pb::Request::kHello: body = Widen<Body>(DecodeHello(wire.hello())); break;
    case pb::Request::kPush: body = Widen<Body>(DecodePush(wire.push())); break;
    case pb::Request::kPull: body = Widen<Body>(DecodePull(wire.pull())); break;
    case pb::Request::kBlobHave: body = Widen<Body>(DecodeHave(wire.blob_have())); break;
    case pb::Request::kBlobPut: body = Widen<Body>(DecodePut(wire.blob_put())); break;
    case pb::Request::kBlobGet: body = Widen<Body>(DecodeGet(wire.blob_get())); break;
    case pb::Request::BODY_NOT_SET: break;
  }
  FORESHORE_ASSIGN_OR_RETURN(request.body, std::move(body));
  return request;
}

Result<SyncReply> DecodeReply(Bytes message) {
  FORESHORE_RETURN_IF_ERROR(CheckShape(message, kReplyShape, kMessageFieldCountMax));
  pb::Reply wire;
  FORESHORE_RETURN_IF_ERROR(ParseBounded(message, wire));
  switch (wire.body_case()) {
    case pb::Reply::kHello: return Widen<SyncReply>(DecodeHelloReply(wire.hello()));
    case pb::Reply::kPush: return Widen<SyncReply>(DecodePushReply(wire.push()));
    case pb::Reply::kForked: return Widen<SyncReply>(DecodeForked(wire.forked()));
    case pb::Reply::kClockRefused:
      return SyncReply(ClockRefusedReply{wire.clock_refused().server_unix_ms(), wire.clock_refused().ahead_ms()});
    case pb::Reply::kPage: return Widen<SyncReply>(DecodePage(wire.page()));
    case pb::Reply::kUpToDate: {
      FORESHORE_ASSIGN_OR_RETURN(std::int64_t head, SequenceFromWire(wire.up_to_date().head()));
      return SyncReply(UpToDateReply{head});
    }
    case pb::Reply::kMustResync: {
      FORESHORE_ASSIGN_OR_RETURN(LogPosition head, FromWire(wire.must_resync().head()));
      return SyncReply(MustResyncReply{head});
    }
    case pb::Reply::kRevoked: return SyncReply(RevokedReply{wire.revoked().channel().substr(0, kChannelBytesMax)});
    case pb::Reply::kBlobNeed: return Widen<SyncReply>(DecodeNeed(wire.blob_need()));
    case pb::Reply::kBlobChunk: return Widen<SyncReply>(DecodeChunk(wire.blob_chunk()));
    case pb::Reply::kRefused: return SyncReply(DecodeRefused(wire.refused()));
    case pb::Reply::BODY_NOT_SET: break;
  }
  return Malformed("reply of an unknown kind");
}

}  // namespace foreshore
