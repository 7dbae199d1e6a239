#include "sync/gateway/gateway_service.h"

#include <algorithm>

#include "engine/document/stamp.h"
#include "sync/protocol/document_codec.h"
#include "sync/protocol/frame.h"
#include "sync/protocol/limits.h"

namespace foreshore {
namespace {

// A page of up to this many bytes fits a frame whatever it holds.
constexpr std::size_t kPageBytesMax = 3 << 20;

SyncReply Refuse(const Status& status) {
  return RefusedReply{status.code(), status.message()};
}

// Every unit must fit a page, or nobody could ever pull past it. Small ones do; large ones are tried.
Status CheckUnitsFitPages(const PushRequest& push) {
  std::size_t begin = 0;
  for (const std::uint32_t end : push.unit_ends) {
    std::size_t unit_bytes = 0;
    for (std::size_t i = begin; i <= end; ++i) unit_bytes += push.changes[i].size();
    if (unit_bytes > kPageBytesMax) {
      PageReply page;
      page.changes.assign(push.changes.begin() + static_cast<std::ptrdiff_t>(begin),
                          push.changes.begin() + static_cast<std::ptrdiff_t>(end) + 1);
      FORESHORE_RETURN_IF_ERROR(EncodeFrame(EncodeReply(page)).status().WithContext("push: a unit fits no page"));
    }
    begin = end + 1;
  }
  return Status::Ok();
}

}  // namespace

GatewayService::GatewayService(std::unique_ptr<GatewayStore> store, std::function<std::int64_t()> now_unix_ms,
                               std::function<void()> head_moved)
    : store_(std::move(store)), now_unix_ms_(std::move(now_unix_ms)), head_moved_(std::move(head_moved)) {
  if (const Result<LogPosition> head = store_->Head(); head.ok()) head_sequence_ = head->sequence;
}

Result<SyncReply> GatewayService::Handle(const SyncRequest& request) {
  if (request.channel != kDefaultChannel) return SyncReply(RevokedReply{request.channel});
  struct Dispatch {
    GatewayService& self;
    const SyncRequest& request;
    Result<SyncReply> operator()(const HelloRequest& hello) { return self.Hello(request, hello); }
    Result<SyncReply> operator()(const PushRequest& push) { return self.Push(request, push); }
    Result<SyncReply> operator()(const PullRequest& pull) { return self.Pull(request, pull); }
    Result<SyncReply> operator()(const BlobHaveRequest& have) { return self.BlobHave(have); }
    Result<SyncReply> operator()(const BlobPutRequest& put) { return self.BlobPut(put); }
    Result<SyncReply> operator()(const BlobGetRequest& get) { return self.BlobGet(get); }
  };
  return std::visit(Dispatch{*this, request}, request.body);
}

Result<SyncReply> GatewayService::Hello(const SyncRequest& request, const HelloRequest& hello) {
  HelloReply reply;
  FORESHORE_ASSIGN_OR_RETURN(reply.head, store_->Head());
  FORESHORE_ASSIGN_OR_RETURN(const bool is_known, store_->Holds(hello.cursor));
  if (!is_known) return SyncReply(MustResyncReply{reply.head});
  reply.server_unix_ms = now_unix_ms_();
  FORESHORE_ASSIGN_OR_RETURN(reply.acknowledged, store_->Acknowledged(request.replica));
  return SyncReply(std::move(reply));
}

std::optional<SyncReply> GatewayService::CheckChanges(const PushRequest& push) const {
  std::uint64_t highest = 0;
  for (const ByteString& bytes : push.changes) {
    const Result<SyncChange> change = DecodeChange(bytes);
    if (!change.ok()) return Refuse(change.status());
    highest = std::max(highest, HighestHlc(*change));
  }
  const std::int64_t now_ms = now_unix_ms_();
  const std::int64_t ahead_ms = HlcUnixMs(highest) - now_ms;
  if (ahead_ms > kClockSkewMsMax) return ClockRefusedReply{now_ms, ahead_ms};
  if (const Status status = CheckUnitsFitPages(push); !status.ok()) return Refuse(status);
  return std::nullopt;
}

Result<SyncReply> GatewayService::Push(const SyncRequest& request, const PushRequest& push) {
  if (std::optional<SyncReply> refusal = CheckChanges(push)) return std::move(*refusal);
  AppendRequest append;
  append.replica = request.replica;
  append.base = push.base;
  append.replaces = push.replaces;
  append.cursor = push.cursor;
  append.changes = push.changes;
  append.unit_ends = push.unit_ends;
  FORESHORE_ASSIGN_OR_RETURN(const AppendOutcome outcome, store_->Append(append));
  switch (outcome.kind) {
    case AppendOutcome::Kind::kChainMismatch: return SyncReply(ForkedReply{outcome.acknowledged});
    case AppendOutcome::Kind::kCursorUnknown: return SyncReply(MustResyncReply{outcome.head});
    case AppendOutcome::Kind::kAppended: break;
  }
  // Pushes end in any order here, so the head only ever grows.
  std::int64_t known = head_sequence_.load();
  while (known < outcome.head.sequence && !head_sequence_.compare_exchange_weak(known, outcome.head.sequence)) {
  }
  head_moved_();
  return SyncReply(PushReply{*outcome.acknowledged, outcome.head});
}

Result<SyncReply> GatewayService::Pull(const SyncRequest& request, const PullRequest& pull) {
  ReadRequest read;
  read.cursor = pull.cursor;
  read.target = pull.target;
  read.change_count_max = std::clamp<std::size_t>(pull.change_count_max, 1, kBatchChangeCountMax);
  read.page_bytes_max = std::clamp<std::size_t>(pull.page_bytes_max, 1, kPageBytesMax);
  if (pull.own) {
    // Only a device that holds all its chain ever pushed may be spared it; a copy of it may not.
    FORESHORE_ASSIGN_OR_RETURN(const auto acknowledged, store_->Acknowledged(request.replica));
    if (acknowledged == pull.own) read.leave_out = pull.own->chain;
  }
  FORESHORE_ASSIGN_OR_RETURN(LogPage page, store_->Read(read));
  if (!page.cursor_is_known) return SyncReply(MustResyncReply{page.head});
  if (page.next == pull.cursor) return SyncReply(UpToDateReply{page.head.sequence});
  return SyncReply(PageReply{std::move(page.changes), page.next, page.head.sequence});
}

Result<SyncReply> GatewayService::BlobHave(const BlobHaveRequest& have) {
  BlobNeedReply reply;
  for (const BlobId& id : have.ids) {
    if (store_->blobs().Contains(id)) continue;
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t offset, store_->blobs().PartialBytes(id));
    reply.items.push_back({id, offset});
  }
  return SyncReply(std::move(reply));
}

Result<SyncReply> GatewayService::BlobPut(const BlobPutRequest& put) {
  BlobStore& blobs = store_->blobs();
  if (blobs.Contains(put.id)) return SyncReply(BlobNeedReply{});
  const Status appended = blobs.AppendPartial(put.id, put.offset, put.data);
  // Another device, or an earlier attempt, was here: the reply says where to go on.
  if (!appended.ok() && appended.code() != ErrorCode::kConflict) return appended;
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t offset, blobs.PartialBytes(put.id));
  if (offset < put.size_bytes) return SyncReply(BlobNeedReply{{{put.id, offset}}});
  const Status finished = blobs.FinishPartial(put.id);
  if (finished.ok() || blobs.Contains(put.id)) return SyncReply(BlobNeedReply{});
  // The pieces were damaged, and are gone: it starts anew.
  if (finished.code() == ErrorCode::kCorruption) return SyncReply(BlobNeedReply{{{put.id, 0}}});
  return finished;
}

Result<SyncReply> GatewayService::BlobGet(const BlobGetRequest& get) {
  BlobChunkReply reply;
  reply.id = get.id;
  Result<std::unique_ptr<MappedFile>> file = store_->blobs().Open(get.id);
  if (!file.ok()) {
    if (file.status().code() != ErrorCode::kNotFound) return file.status();
    reply.absent = true;
    return SyncReply(std::move(reply));
  }
  const Bytes content = (*file)->bytes();
  if (get.offset > content.size()) {
    return Refuse(Status::InvalidArgument("blob: offset " + std::to_string(get.offset) + ", it has " +
                                          std::to_string(content.size()) + " bytes"));
  }
  reply.size_bytes = content.size();
  reply.offset = get.offset;
  reply.data = content.substr(get.offset, std::clamp<std::size_t>(get.bytes_max, 1, kPageBytesMax));
  return SyncReply(std::move(reply));
}

}  // namespace foreshore
