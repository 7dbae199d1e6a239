// The sync gateway: an HTTP server that keeps the channel's log of changes and the blobs, and through which devices
// meet. It never merges: it orders, stores and hands on.
//
//   auto gateway = *foreshore::Gateway::Start({.store_path = "/var/lib/foreshore", .host = "0.0.0.0", .port = 8080});
//
// Plain HTTP; put a TLS proxy in front where the network is not trusted. The process may be killed at any time: what
// was acknowledged is on disk.
//
// Threads: a Gateway may be used from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "foreshore/status.h"
#include "foreshore/storage_options.h"

namespace foreshore {

struct GatewayOptions {
  std::string store_path;          // A directory, made where missing; one gateway at a time (kBusy).
  std::string host = "127.0.0.1";  // An address, not a name.
  std::uint16_t port = 0;          // 0: chosen by the system, see port().
  std::string token;               // Required from every client as a bearer token; empty: none is asked.
  Durability durability = Durability::kFull;
  unsigned thread_count = 2;
  unsigned connection_count_max = 1024;            // Further ones are answered 503.
  unsigned parked_count_max = 512;                 // Long-polls held; further ones are answered at once.
  std::chrono::milliseconds head_timeout{10'000};  // From the connection (or the last reply) to the end of the head.
  std::chrono::milliseconds body_timeout{60'000};  // For the rest of the request, and for the reply.
  std::chrono::milliseconds keep_alive_timeout{60'000};  // Between two requests.
  std::function<std::int64_t()> now_unix_ms;             // Empty: the system's clock.
};

struct GatewayStats {
  std::int64_t head = 0;  // Sequence of the channel's last change.
  std::uint64_t request_count = 0;
  std::uint64_t refused_count = 0;  // Answered with a 4xx or 5xx.
  std::uint64_t connection_count = 0;
  std::uint64_t parked_count = 0;
};

class Gateway {
 public:
  // Returns once the socket listens.
  static Result<std::unique_ptr<Gateway>> Start(const GatewayOptions& options);
  ~Gateway();  // Stops.
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  std::uint16_t port() const;
  // Ends parked requests and connections, finishes what is being written, closes the store.
  Status Stop();
  GatewayStats Stats() const;

 private:
  class Impl;
  explicit Gateway(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshore
