// HTTP/1.1 around a GatewayService: connections, limits, timeouts, parked long-polls. Names Boost types only in its
// .cc files.
//
// Threads: safe from any thread. Requests are answered on the server's own threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "foreshore/gateway.h"
#include "foreshore/status.h"
#include "sync/gateway/gateway_service.h"

namespace foreshore {

class HttpServer {
 public:
  // Listens and starts its threads. `service` must outlive it.
  static Result<std::unique_ptr<HttpServer>> Start(const GatewayOptions& options, GatewayService& service);
  ~HttpServer();  // Ends connections, waits for requests being answered.

  std::uint16_t port() const;
  // Parked requests look again.
  void WakeParked();
  void FillStats(GatewayStats& stats) const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshore
