// Synchronisation of a database with a gateway: local changes are pushed, changes of other devices pulled and merged,
// blobs (attachments, model tensors) fetched in chunks. Works over any HTTP stack.
//
//   foreshore::SyncOptions options;
//   options.url = "https://sync.example.org";
//   auto client = *foreshore::SyncClient::Create(*db, options);
//   auto report = client->SyncOnce();
//
// Everything is resumable: a crash or a lost connection at any point leaves a state from which the next call goes on,
// and nothing is lost or applied twice.
//
// Threads: a SyncClient may be used from any thread; one SyncOnce or Follow runs at a time (kBusy for a second one).
// The Database must outlive it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

class Database;
class DatabaseCore;

// One reply of an HTTP server. Any status is a reply; not reaching the server is a Status.
struct HttpReply {
  int status = 0;
  ByteString body;
};

struct HttpRequest {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  Bytes body;  // Valid during the call.
  std::chrono::milliseconds timeout{30'000};
  std::uint64_t reply_bytes_max = 0;  // A longer reply is kLimit.
};

// How requests travel. An app may supply its platform's own stack; the default is libcurl (in builds that have it).
// Threads: Post is called by two threads at once while Follow runs; Cancel from any thread.
class HttpTransport {
 public:
  virtual ~HttpTransport() = default;
  // kNetwork where the server was not reached or the connection broke; kCancelled after Cancel. Redirects are not
  // followed.
  virtual Result<HttpReply> Post(const HttpRequest& request) = 0;
  // Makes the calls under way return soon. Later calls work again after Reset.
  virtual void Cancel() {}
  virtual void Reset() {}
};

struct CurlOptions {
  std::string ca_file;  // PEM bundle to trust instead of the system's; empty: the system's.
};
// kUnsupported in a build without libcurl. http:// and https:// (certificates are verified).
Result<std::shared_ptr<HttpTransport>> MakeCurlTransport(const CurlOptions& options = {});

struct SyncOptions {
  std::string url;    // "http://host:port" or "https://host/prefix"
  std::string token;  // Bearer token; empty: none is sent.
  // Shared: Follow's two threads use it, and tests keep a hand on it. Empty: libcurl.
  std::shared_ptr<HttpTransport> transport;
  std::size_t batch_change_count_max = 500;        // Documents in one push, at most 1,000.
  std::size_t batch_bytes_max = 1 << 20;           // Before compression, at most 3 MiB; one larger document still goes.
  std::size_t page_change_count_max = 500;         // Documents in one pull, at most 1,000.
  std::size_t page_bytes_max = 1 << 20;            // Before compression.
  std::size_t chunk_bytes = 1 << 20;               // Of a blob, at most 3 MiB.
  std::chrono::milliseconds timeout{30'000};       // Of one request.
  std::chrono::milliseconds poll_wait{25'000};     // How long Follow lets the gateway hold a request.
  std::chrono::milliseconds backoff_min{1'000};    // Follow's pause after a failure, doubled and jittered up to
  std::chrono::milliseconds backoff_max{300'000};  // this.
  // Waits between attempts, and returns early when asked to stop; empty: really waits. For tests.
  std::function<void(std::chrono::milliseconds, std::stop_token)> wait;
};

struct SyncProgress {
  std::uint64_t documents_pushed = 0;  // Changes of documents sent and acknowledged, repeats included.
  std::uint64_t documents_pulled = 0;  // Received and applied.
  std::uint64_t blobs_sent = 0;
  std::uint64_t blobs_received = 0;
  std::uint64_t bytes_sent = 0;  // Bodies as they travelled.
  std::uint64_t bytes_received = 0;
  std::uint64_t push_lag = 0;  // Local changes not yet acknowledged, as far as known.
  std::uint64_t pull_lag = 0;  // Entries of the channel not yet applied.
  std::uint64_t blobs_wanted = 0;
  std::uint64_t blob_bytes_wanted = 0;  // Of the blob under way: what is still missing.
};
// Called now and then from the calling thread; false asks to stop (kCancelled, resumable).
using SyncProgressCallback = std::function<bool(const SyncProgress&)>;

struct SyncReport {
  SyncProgress totals;
  std::uint64_t documents_changed = 0;     // Pulled changes that told this device something new.
  std::uint64_t values_rescued = 0;        // Values that lost concurrently and were kept aside in this call.
  bool identity_forked = false;            // The directory turned out to be a copy or a restored backup.
  bool resynced = false;                   // The gateway had lost what it acknowledged; everything was sent again.
  bool clock_corrected = false;            // The gateway refused our clock; unsent changes were stamped anew.
  std::vector<std::string> blobs_missing;  // Hexadecimal: referred to here, and the gateway has not got them (yet).
};

class SyncClient {
 public:
  // kInvalidArgument for a URL or sizes out of range; kUnsupported where there is no transport.
  static Result<std::unique_ptr<SyncClient>> Create(Database& database, const SyncOptions& options);
  static Result<std::unique_ptr<SyncClient>> Create(DatabaseCore& core, const SyncOptions& options);  // For floor 5.
  ~SyncClient();
  SyncClient(const SyncClient&) = delete;
  SyncClient& operator=(const SyncClient&) = delete;

  // Pushes, pulls and fetches blobs until both sides are level. kNetwork: try again; kUnauthorised: the token was
  // refused; kCorruption: the gateway's reply broke the protocol.
  Result<SyncReport> SyncOnce(const SyncProgressCallback& progress = {});
  // Keeps both sides level until asked to stop: local changes go out as they are committed, remote ones come by
  // long-poll. Failures of the network are retried with growing, jittered pauses; others end it.
  Status Follow(std::stop_token stop, const SyncProgressCallback& progress = {});

 private:
  class Impl;
  explicit SyncClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshore
