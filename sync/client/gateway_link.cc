#include "sync/client/gateway_link.h"

#include "sync/protocol/frame.h"
#include "sync/protocol/limits.h"

namespace foreshore {
namespace {

// The first line of what a server says, for the error message.
std::string FirstLine(const std::string& text) {
  std::string line = text.substr(0, std::min<std::size_t>(text.find_first_of("\r\n"), 200));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return line;
}

Status StatusOfHttp(const HttpReply& reply) {
  const std::string message = "answered " + std::to_string(reply.status) + ": " + FirstLine(reply.body);
  switch (reply.status) {
    case 401:
    case 403: return Status::Unauthorised(message);
    case 400:
    case 413:
    case 431: return Status::InvalidArgument(message);
    case 408:
    case 429: return Status::Network(message);
    default:
      if (reply.status >= 500) return Status::Network(message);
      return Status::Unsupported(message + ", expected a foreshore gateway");
  }
}

}  // namespace

GatewayLink::GatewayLink(const SyncOptions& options, std::shared_ptr<HttpTransport> transport)
    : options_(options), transport_(std::move(transport)), url_(options.url) {
  while (url_.ends_with('/')) url_.pop_back();
  url_ += kSyncPath;
}

Result<SyncReply> GatewayLink::Call(const ReplicaId& replica, decltype(SyncRequest::body) body,
                                    std::chrono::milliseconds extra_wait) {
  const std::string context = "gateway \"" + options_.url + "\"";
  SyncRequest request;
  request.channel = kDefaultChannel;
  request.replica = replica;
  request.body = std::move(body);
  FORESHORE_ASSIGN_OR_RETURN(const ByteString frame, EncodeFrame(EncodeRequest(request)));
  HttpRequest http;
  http.url = url_;
  http.headers.emplace_back("Content-Type", kSyncContentType);
  if (!options_.token.empty()) http.headers.emplace_back("Authorization", "Bearer " + options_.token);
  http.body = frame;
  http.timeout = options_.timeout + extra_wait;
  http.reply_bytes_max = kFrameBytesMax;
  Result<HttpReply> reply = transport_->Post(http);
  if (!reply.ok()) return reply.status().WithContext(context);
  bytes_sent_ += frame.size();
  bytes_received_ += reply->body.size();
  if (reply->status != 200) return StatusOfHttp(*reply).WithContext(context);
  Result<ByteString> message = DecodeFrame(reply->body);
  if (!message.ok()) return Status::Corruption(context + ": " + message.status().message());
  Result<SyncReply> decoded = DecodeReply(*message);
  if (!decoded.ok()) return Status::Corruption(context + ": " + decoded.status().message());
  if (const auto* refused = std::get_if<RefusedReply>(&*decoded)) {
    return Status(refused->code, context + " refused the request: " + refused->message);
  }
  if (const auto* revoked = std::get_if<RevokedReply>(&*decoded)) {
    return Status::Unauthorised(context + ": channel \"" + revoked->channel + "\" is not granted");
  }
  return decoded;
}

Status UnexpectedReply(std::string_view expected) {
  return Status::Corruption("gateway: reply of another kind, expected " + std::string(expected));
}

}  // namespace foreshore
