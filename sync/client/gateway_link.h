// Sends requests to one gateway over an HttpTransport and reads its replies.
//
// Threads: Call may be used by two threads at once (Follow's).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "foreshore/sync.h"
#include "sync/protocol/messages.h"

namespace foreshore {

class GatewayLink {
 public:
  // `options` must outlive it.
  GatewayLink(const SyncOptions& options, std::shared_ptr<HttpTransport> transport);

  // Replies of HTTP that are no message, and RefusedReply and RevokedReply, come back as errors. kNetwork where
  // another attempt may succeed. `extra_wait`: how long the gateway may hold the request.
  Result<SyncReply> Call(const ReplicaId& replica, decltype(SyncRequest::body) body,
                         std::chrono::milliseconds extra_wait = {});

  HttpTransport& transport() { return *transport_; }
  std::uint64_t bytes_sent() const { return bytes_sent_.load(); }
  std::uint64_t bytes_received() const { return bytes_received_.load(); }

 private:
  const SyncOptions& options_;
  std::shared_ptr<HttpTransport> transport_;  // Shared with the app that supplied it.
  std::string url_;
  std::atomic<std::uint64_t> bytes_sent_{0};
  std::atomic<std::uint64_t> bytes_received_{0};
};

// A reply of another kind than the one expected here.
Status UnexpectedReply(std::string_view expected);

}  // namespace foreshore
