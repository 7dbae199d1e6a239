// One connection of the HTTP server. Internal to this folder: it names Boost types.
//
// A connection reads a request, answers it, and reads the next; every step has a deadline. It lives as long as a
// handler of its own is under way.
#pragma once

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "foreshore/gateway.h"
#include "sync/gateway/gateway_service.h"

namespace foreshore {

class HttpConnection;

// What connections share. Outlives them.
struct HttpServerState {
  HttpServerState(const GatewayOptions& server_options, GatewayService& server_service)
      : options(server_options), service(server_service) {}

  const GatewayOptions options;
  GatewayService& service;
  std::atomic<std::uint64_t> request_count{0};
  std::atomic<std::uint64_t> refused_count{0};
  std::atomic<std::uint64_t> connection_count{0};
  std::mutex parked_mutex;
  std::set<HttpConnection*> parked;  // Guarded by parked_mutex; each removes itself before it goes.
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(boost::asio::ip::tcp::socket socket, HttpServerState& state);
  ~HttpConnection();
  void Start();
  // From any thread; the caller holds parked_mutex.
  void Wake();

 private:
  using Error = boost::system::error_code;

  void WaitForRequest();
  void ReadHead();
  void OnHead(Error error);
  void OnBody(Error error);
  void Answer();
  // Answers a pull, or parks it.
  void AnswerSync(const SyncRequest& request);
  void Park(const SyncRequest& request, std::chrono::steady_clock::time_point deadline);
  void Unpark();
  void OnParkEnd();
  void Send(unsigned status, std::string_view content_type, std::string body, bool keeps_alive);
  void Refuse(unsigned status, const std::string& message);  // And closes.
  void SendReply(const Result<SyncReply>& reply);
  void OnSent(Error error, bool keeps_alive);
  // Gives the peer time to read the reply before the socket goes.
  void DrainAndClose();
  bool IsAuthorised() const;

  HttpServerState& state_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  boost::beast::http::response<boost::beast::http::string_body> response_;
  boost::asio::steady_timer park_timer_;
  std::chrono::steady_clock::time_point park_deadline_;
  std::optional<SyncRequest> parked_request_;
  std::array<char, 4096> drained_{};
  std::size_t drained_bytes_ = 0;
  bool is_first_ = true;
};

}  // namespace foreshore
