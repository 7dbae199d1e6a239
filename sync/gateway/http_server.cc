#include "sync/gateway/http_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <exception>
#include <thread>
#include <vector>

#include "storage/base/log.h"
#include "sync/gateway/http_connection.h"

namespace foreshore {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::chrono::milliseconds kAcceptPause{100};
constexpr std::string_view kOverloaded =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const GatewayOptions& options, GatewayService& service)
      : state_(options, service),
        io_(static_cast<int>(std::max(1U, options.thread_count))),
        acceptor_(asio::make_strand(io_)),
        pause_(acceptor_.get_executor()) {}

  ~Impl() {
    io_.stop();
    for (std::thread& thread : threads_) thread.join();
  }

  Status Start() {
    boost::system::error_code error;
    const GatewayOptions& options = state_.options;
    const asio::ip::address address = asio::ip::make_address(options.host, error);
    if (error) {
      return Status::InvalidArgument("gateway: host is \"" + options.host + "\", expected an IP address");
    }
    const tcp::endpoint endpoint(address, options.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (!error) port_ = acceptor_.local_endpoint(error).port();
    if (error) {
      return Status::Io("gateway: listen on " + options.host + ":" + std::to_string(options.port) + ": " +
                        error.message());
    }
    asio::dispatch(acceptor_.get_executor(), [this] { Accept(); });
    for (unsigned i = 0; i < std::max(1U, options.thread_count); ++i) {
      threads_.emplace_back([this] { Run(); });
    }
    return Status::Ok();
  }

  std::uint16_t port() const { return port_; }
  HttpServerState& state() { return state_; }

 private:
  // A request that ran out of memory ends its own connection, not the gateway.
  void Run() {
    while (true) {
      try {
        io_.run();
        return;
      } catch (const std::exception& error) {
        Log(LogLevel::kError, "gateway", std::string("request given up: ") + error.what());
      }
    }
  }

  void Accept() {
    acceptor_.async_accept(asio::make_strand(io_), [this](boost::system::error_code error, tcp::socket socket) {
      if (error) return PauseAccepting(error);
      if (state_.connection_count.load() >= state_.options.connection_count_max) {
        state_.refused_count.fetch_add(1);
        socket.non_blocking(true, error);
        socket.send(asio::buffer(kOverloaded.data(), kOverloaded.size()), 0, error);
      } else {
        std::make_shared<HttpConnection>(std::move(socket), state_)->Start();
      }
      Accept();
    });
  }

  // Out of descriptors, most likely: connections that end give some back.
  void PauseAccepting(const boost::system::error_code& error) {
    if (error == asio::error::operation_aborted) return;
    Log(LogLevel::kWarning, "gateway", "accept: " + error.message());
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](boost::system::error_code) { Accept(); });
  }

  HttpServerState state_;  // Before io_, whose handlers own the connections.
  asio::io_context io_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::uint16_t port_ = 0;
  std::vector<std::thread> threads_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const GatewayOptions& options, GatewayService& service) {
  auto impl = std::make_unique<Impl>(options, service);
  FORESHORE_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

std::uint16_t HttpServer::port() const {
  return impl_->port();
}

void HttpServer::WakeParked() {
  HttpServerState& state = impl_->state();
  std::lock_guard lock(state.parked_mutex);
  for (HttpConnection* connection : state.parked) connection->Wake();
}

void HttpServer::FillStats(GatewayStats& stats) const {
  HttpServerState& state = impl_->state();
  stats.request_count = state.request_count.load();
  stats.refused_count = state.refused_count.load();
  stats.connection_count = state.connection_count.load();
  std::lock_guard lock(state.parked_mutex);
  stats.parked_count = state.parked.size();
}

}  // namespace foreshore
