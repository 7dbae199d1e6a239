// Answers requests, knowing nothing of HTTP.
//
// Threads: safe from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "foreshore/status.h"
#include "sync/gateway/gateway_store.h"
#include "sync/protocol/messages.h"

namespace foreshore {

class GatewayService {
 public:
  // `head_moved` is called after every push that appended, from the pushing thread.
  GatewayService(std::unique_ptr<GatewayStore> store, std::function<std::int64_t()> now_unix_ms,
                 std::function<void()> head_moved);

  // An error is the store's failure; what is wrong with the request is a RefusedReply.
  Result<SyncReply> Handle(const SyncRequest& request);
  std::int64_t head_sequence() const { return head_sequence_.load(); }

 private:
  Result<SyncReply> Hello(const SyncRequest& request, const HelloRequest& hello);
  Result<SyncReply> Push(const SyncRequest& request, const PushRequest& push);
  Result<SyncReply> Pull(const SyncRequest& request, const PullRequest& pull);
  Result<SyncReply> BlobHave(const BlobHaveRequest& have);
  Result<SyncReply> BlobPut(const BlobPutRequest& put);
  Result<SyncReply> BlobGet(const BlobGetRequest& get);
  // nullopt: every change may be appended.
  std::optional<SyncReply> CheckChanges(const PushRequest& push) const;

  std::unique_ptr<GatewayStore> store_;
  std::function<std::int64_t()> now_unix_ms_;
  std::function<void()> head_moved_;
  std::atomic<std::int64_t> head_sequence_{0};
};

}  // namespace foreshore
