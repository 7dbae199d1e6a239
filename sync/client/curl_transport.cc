#include <curl/curl.h>

#include <atomic>
#include <mutex>
#include <vector>

#include "foreshore/sync.h"

namespace foreshore {
namespace {

constexpr long kConnectTimeoutMs = 15'000;

// libcurl wants to be initialised once per process, before any thread uses it.
bool InitialiseCurl() {
  static const bool is_ok = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return is_ok;
}

class CurlTransport : public HttpTransport {
 public:
  explicit CurlTransport(CurlOptions options) : options_(std::move(options)) {}
  ~CurlTransport() override {
    for (CURL* handle : idle_) curl_easy_cleanup(handle);
  }

  Result<HttpReply> Post(const HttpRequest& request) override {
    CURL* handle = TakeHandle();
    if (handle == nullptr) return Status::Internal("libcurl: cannot make a handle");
    Result<HttpReply> reply = PostWith(handle, request);
    // A handle keeps its connection for the next request.
    std::lock_guard lock(mutex_);
    idle_.push_back(handle);
    return reply;
  }
  void Cancel() override { cancelled_ = true; }
  void Reset() override { cancelled_ = false; }

 private:
  struct Receiver {
    const CurlTransport& transport;
    ByteString body;
    std::uint64_t bytes_max = 0;
    bool is_too_long = false;
  };

  static std::size_t OnBytes(char* data, std::size_t size, std::size_t count, void* user) {
    Receiver& receiver = *static_cast<Receiver*>(user);
    if (count * size > receiver.bytes_max - receiver.body.size()) {
      receiver.is_too_long = true;
      return 0;
    }
    receiver.body.append(data, size * count);
    return size * count;
  }
  static int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Receiver*>(user)->transport.cancelled_ ? 1 : 0;
  }

  CURL* TakeHandle() {
    std::lock_guard lock(mutex_);
    if (idle_.empty()) return curl_easy_init();
    CURL* handle = idle_.back();
    idle_.pop_back();
    return handle;
  }

  Result<HttpReply> PostWith(CURL* handle, const HttpRequest& request) {
    Receiver receiver{*this, {}, request.reply_bytes_max};
    curl_slist* headers = curl_slist_append(nullptr, "Expect:");  // Its round trip is worth more than what it saves.
    for (const auto& [name, value] : request.headers) {
      headers = curl_slist_append(headers, (name + ": " + value).c_str());
    }
    char message[CURL_ERROR_SIZE] = "";
    curl_easy_reset(handle);
    curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
    if (!options_.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, options_.ca_file.c_str());
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &OnBytes);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &receiver);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, &OnProgress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &receiver);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, message);
    const CURLcode code = curl_easy_perform(handle);
    curl_slist_free_all(headers);
    if (code == CURLE_OK) {
      long status = 0;
      curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
      return HttpReply{static_cast<int>(status), std::move(receiver.body)};
    }
    if (receiver.is_too_long) {
      return Status::Limit("the reply is longer than " + std::to_string(request.reply_bytes_max) + " bytes");
    }
    if (code == CURLE_ABORTED_BY_CALLBACK) return Status::Cancelled("the request was cancelled");
    const std::string what = message[0] != '\0' ? message : curl_easy_strerror(code);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
      return Status::Unauthorised("the server's certificate is not trusted: " + what);
    }
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) return Status::InvalidArgument(what);
    return Status::Network(what);
  }

  const CurlOptions options_;
  std::mutex mutex_;
  std::vector<CURL*> idle_;  // Guarded by mutex_.
  std::atomic<bool> cancelled_{false};
};

}  // namespace

Result<std::shared_ptr<HttpTransport>> MakeCurlTransport(const CurlOptions& options) {
  if (!InitialiseCurl()) return Status::Internal("libcurl: initialisation failed");
  return std::shared_ptr<HttpTransport>(std::make_shared<CurlTransport>(options));
}

}  // namespace foreshore
