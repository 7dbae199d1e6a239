#include "sync/gateway/http_connection.h"

#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <iterator>
#include <utility>

#include "storage/base/log.h"
#include "sync/gateway/http_limits.h"
#include "sync/protocol/frame.h"
#include "sync/protocol/limits.h"

namespace foreshore {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::size_t kDrainBytesMax = 8 << 20;
constexpr std::chrono::seconds kDrainTime{2};
constexpr std::string_view kTextType = "text/plain";
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// Takes as long for a wrong token as for a right one of the same length.
bool EqualInConstantTime(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference = static_cast<unsigned char>(difference | (a[i] ^ other));
  }
  return difference == 0;
}

unsigned HttpStatusOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kLimit: return 413;
    case ErrorCode::kCorruption:
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported: return 400;
    case ErrorCode::kBusy: return 503;
    case ErrorCode::kNoSpace: return 507;
    default: return 500;
  }
}

std::string_view View(boost::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

HttpConnection::HttpConnection(asio::ip::tcp::socket socket, HttpServerState& state)
    : state_(state), stream_(std::move(socket)), park_timer_(stream_.get_executor()) {
  state_.connection_count.fetch_add(1);
}

HttpConnection::~HttpConnection() {
  Unpark();
  state_.connection_count.fetch_sub(1);
}

void HttpConnection::Start() {
  asio::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->WaitForRequest(); });
}

// The time between two requests is longer than a head may take; so the head's deadline begins with its first byte.
void HttpConnection::WaitForRequest() {
  if (is_first_ || buffer_.size() != 0) {
    is_first_ = false;
    ReadHead();
    return;
  }
  stream_.expires_after(state_.options.keep_alive_timeout);
  stream_.async_read_some(buffer_.prepare(4096), [self = shared_from_this()](Error error, std::size_t size_bytes) {
    if (error) return;  // The peer went, or was idle for too long.
    self->buffer_.commit(size_bytes);
    self->ReadHead();
  });
}

void HttpConnection::ReadHead() {
  parser_.emplace();
  parser_->header_limit(kHttpHeadBytesMax);
  parser_->body_limit(kFrameBytesMax);
  stream_.expires_after(state_.options.head_timeout);
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](Error error, std::size_t) { self->OnHead(error); });
}

void HttpConnection::OnHead(Error error) {
  if (error == http::error::end_of_stream || error == http::error::partial_message) return;
  if (error == beast::error::timeout) {
    stream_.socket().close(error);
    return;
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Refuse(431, "the request's head is above 16384 bytes");
  }
  if (error == http::error::body_limit) return Refuse(413, "the request's body is above 4194304 bytes");
  if (error && error.category() == make_error_code(http::error::bad_method).category()) {
    return Refuse(400, "the request is not HTTP: " + error.message());
  }
  if (error) return;
  const auto& head = parser_->get();
  const std::size_t header_count = static_cast<std::size_t>(std::distance(head.begin(), head.end()));
  if (header_count > kHttpHeaderCountMax) return Refuse(431, "the request has more than 100 headers");
  if (!IsAuthorised()) return Refuse(401, "the token is missing or wrong");
  const std::string_view target = View(head.target());
  if (target == "/health" && head.method() == http::verb::get) {
    state_.request_count.fetch_add(1);
    return Send(200, kTextType, "ok\n", head.keep_alive());
  }
  if (target != kSyncPath) return Refuse(404, "no such path; expected POST " + std::string(kSyncPath));
  if (head.method() != http::verb::post) return Refuse(405, "expected POST");
  stream_.expires_after(state_.options.body_timeout);
  auto read_body = [self = shared_from_this()] {
    http::async_read(self->stream_, self->buffer_, *self->parser_,
                     [self](Error body_error, std::size_t) { self->OnBody(body_error); });
  };
  if (!beast::iequals(head[http::field::expect], "100-continue")) return read_body();
  asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()),
                    [read_body](Error write_error, std::size_t) {
                      if (!write_error) read_body();
                    });
}

bool HttpConnection::IsAuthorised() const {
  if (state_.options.token.empty()) return true;
  const std::string_view found = View(parser_->get()[http::field::authorization]);
  return EqualInConstantTime(found, "Bearer " + state_.options.token);
}

void HttpConnection::OnBody(Error error) {
  if (error == http::error::body_limit) return Refuse(413, "the request's body is above 4194304 bytes");
  if (error && error.category() == make_error_code(http::error::bad_method).category() &&
      error != http::error::partial_message && error != http::error::end_of_stream) {
    return Refuse(400, "the request is not HTTP: " + error.message());
  }
  if (error) return;
  stream_.expires_never();
  Answer();
}

void HttpConnection::Answer() {
  state_.request_count.fetch_add(1);
  const Result<ByteString> message = DecodeFrame(parser_->get().body());
  if (!message.ok()) return Refuse(HttpStatusOf(message.status().code()), message.status().message());
  const Result<SyncRequest> request = DecodeRequest(*message);
  if (!request.ok()) return Refuse(HttpStatusOf(request.status().code()), request.status().message());
  AnswerSync(*request);
}

void HttpConnection::AnswerSync(const SyncRequest& request) {
  const auto* pull = std::get_if<PullRequest>(&request.body);
  if (pull != nullptr && pull->wait_ms > 0) {
    const auto wait = std::chrono::milliseconds(std::min<std::size_t>(pull->wait_ms, kPollWaitMsMax));
    park_deadline_ = std::chrono::steady_clock::now() + wait;
    return Park(request, park_deadline_);
  }
  SendReply(state_.service.Handle(request));
}

// Is in the list before it looks, so that a push in between wakes it.
void HttpConnection::Park(const SyncRequest& request, std::chrono::steady_clock::time_point deadline) {
  bool has_room = false;
  park_timer_.expires_at(deadline);
  {
    std::lock_guard lock(state_.parked_mutex);
    has_room = state_.parked.size() < state_.options.parked_count_max || state_.parked.contains(this);
    if (has_room) state_.parked.insert(this);
  }
  Result<SyncReply> reply = state_.service.Handle(request);
  const bool is_idle = reply.ok() && std::holds_alternative<UpToDateReply>(*reply);
  if (!has_room || !is_idle || std::chrono::steady_clock::now() >= deadline) {
    Unpark();
    return SendReply(reply);
  }
  parked_request_ = request;
  park_timer_.async_wait([self = shared_from_this()](Error) { self->OnParkEnd(); });
}

void HttpConnection::Unpark() {
  std::lock_guard lock(state_.parked_mutex);
  state_.parked.erase(this);
}

// Time is up, or something was pushed.
void HttpConnection::OnParkEnd() {
  if (!stream_.socket().is_open()) return;
  const SyncRequest request = std::move(*parked_request_);
  parked_request_.reset();
  Park(request, park_deadline_);
}

void HttpConnection::Wake() {
  // The strand runs it after a Park under way, so a wake-up between its look and its wait is not missed.
  asio::post(stream_.get_executor(), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->park_timer_.cancel();
  });
}

void HttpConnection::SendReply(const Result<SyncReply>& reply) {
  if (!reply.ok()) {
    Log(LogLevel::kError, "gateway", reply.status().ToString());
    // What the disk said is for the log, not for the network.
    return Refuse(HttpStatusOf(reply.status().code()), std::string(ErrorCodeName(reply.status().code())));
  }
  if (std::holds_alternative<RefusedReply>(*reply)) state_.refused_count.fetch_add(1);
  Result<ByteString> frame = EncodeFrame(EncodeReply(*reply));
  if (!frame.ok()) return Refuse(500, frame.status().message());
  Send(200, kSyncContentType, std::move(*frame), parser_->get().keep_alive());
}

void HttpConnection::Refuse(unsigned status, const std::string& message) {
  state_.refused_count.fetch_add(1);
  Send(status, kTextType, message + "\n", false);
}

void HttpConnection::Send(unsigned status, std::string_view content_type, std::string body, bool keeps_alive) {
  response_ = {};
  response_.version(11);
  response_.result(status);
  response_.set(http::field::content_type, boost::string_view(content_type.data(), content_type.size()));
  response_.keep_alive(keeps_alive);
  response_.body() = std::move(body);
  response_.prepare_payload();
  stream_.expires_after(state_.options.body_timeout);
  http::async_write(stream_, response_, [self = shared_from_this(), keeps_alive](Error error, std::size_t) {
    self->OnSent(error, keeps_alive);
  });
}

void HttpConnection::OnSent(Error error, bool keeps_alive) {
  if (error) return;
  if (keeps_alive) return WaitForRequest();
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, error);
  stream_.expires_after(kDrainTime);
  DrainAndClose();
}

void HttpConnection::DrainAndClose() {
  stream_.async_read_some(asio::buffer(drained_), [self = shared_from_this()](Error error, std::size_t size_bytes) {
    self->drained_bytes_ += size_bytes;
    if (error || self->drained_bytes_ > kDrainBytesMax) return;
    self->DrainAndClose();
  });
}

}  // namespace foreshore
