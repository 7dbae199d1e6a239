#include "foreshore/gateway.h"

#include <atomic>
#include <mutex>

#include "storage/base/clock.h"
#include "sync/gateway/gateway_service.h"
#include "sync/gateway/http_server.h"

namespace foreshore {

class Gateway::Impl {
 public:
  std::unique_ptr<GatewayService> service;
  std::mutex mutex;
  std::unique_ptr<HttpServer> server;  // Guarded by mutex. Goes before the service.
  std::uint16_t port = 0;
  GatewayStats last_stats;                   // Guarded by mutex: as they were when the server stopped.
  std::atomic<HttpServer*> waking{nullptr};  // For pushes, which run on the server's own threads.
};

Gateway::Gateway(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Gateway::~Gateway() {
  Stop().IgnoreError();  // It cannot fail after all connections went.
}

Result<std::unique_ptr<Gateway>> Gateway::Start(const GatewayOptions& options) {
  FORESHORE_ASSIGN_OR_RETURN(auto store, OpenEmbeddedGatewayStore(options.store_path, options.durability));
  auto impl = std::make_unique<Impl>();
  std::function<std::int64_t()> now = options.now_unix_ms;
  if (!now) now = [clock = SystemClock()] { return clock->NowUnixMs(); };
  impl->service = std::make_unique<GatewayService>(std::move(store), std::move(now), [impl = impl.get()] {
    if (HttpServer* server = impl->waking.load()) server->WakeParked();
  });
  FORESHORE_ASSIGN_OR_RETURN(impl->server, HttpServer::Start(options, *impl->service));
  impl->waking = impl->server.get();
  impl->port = impl->server->port();
  return std::unique_ptr<Gateway>(new Gateway(std::move(impl)));
}

std::uint16_t Gateway::port() const {
  return impl_->port;
}

Status Gateway::Stop() {
  std::lock_guard lock(impl_->mutex);
  if (!impl_->server) return Status::Ok();
  impl_->server->FillStats(impl_->last_stats);
  impl_->last_stats.head = impl_->service->head_sequence();
  impl_->last_stats.connection_count = 0;
  impl_->last_stats.parked_count = 0;
  impl_->server.reset();
  impl_->waking = nullptr;
  impl_->service.reset();
  return Status::Ok();
}

GatewayStats Gateway::Stats() const {
  std::lock_guard lock(impl_->mutex);
  if (!impl_->server) return impl_->last_stats;
  GatewayStats stats;
  impl_->server->FillStats(stats);
  stats.head = impl_->service->head_sequence();
  return stats;
}

}  // namespace foreshore
