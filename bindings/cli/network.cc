// sync and gateway.
#include <charconv>
#include <cstdio>

#include "bindings/cli/command.h"
#include "bindings/cli/progress.h"
#include "bindings/cli/stop_signal.h"
#include "bindings/json/reports.h"
#include "foreshore/sync.h"
#ifdef FORESHORE_WITH_GATEWAY
#include "foreshore/gateway.h"
#endif

namespace foreshore::cli {
namespace {

std::string Describe(const SyncProgress& progress) {
  return std::to_string(progress.documents_pushed) + " sent, " + std::to_string(progress.documents_pulled) +
         " received, blobs " + std::to_string(progress.blobs_sent) + "/" + std::to_string(progress.blobs_received) +
         ", " + HumanBytes(progress.bytes_sent) + "/" + HumanBytes(progress.bytes_received) + ", lag " +
         std::to_string(progress.push_lag) + "/" + std::to_string(progress.pull_lag);
}

Status PrintReport(const SyncReport& report, Format format) {
  return PrintObject(stdout, format, SyncReportJson(report),
                     {{"documents sent", std::to_string(report.totals.documents_pushed)},
                      {"documents received", std::to_string(report.totals.documents_pulled)},
                      {"documents changed here", std::to_string(report.documents_changed)},
                      {"values rescued", std::to_string(report.values_rescued)},
                      {"blobs sent", std::to_string(report.totals.blobs_sent)},
                      {"blobs received", std::to_string(report.totals.blobs_received)},
                      {"bytes sent", HumanBytes(report.totals.bytes_sent)},
                      {"bytes received", HumanBytes(report.totals.bytes_received)},
                      {"blobs missing", std::to_string(report.blobs_missing.size())}});
}

// Null where there is nothing to watch.
Result<std::unique_ptr<Subscription>> Watch(Database& database, const std::string& sql) {
  if (sql.empty()) return std::unique_ptr<Subscription>();
  return database.Subscribe(sql, {}, {}, [](const ResultChanges& changes) {
    const Status printed = WriteText(stdout, ChangesJsonLines(changes));
    if (printed.ok()) FlushFile(stdout).IgnoreError();
  });
}

#ifdef FORESHORE_WITH_GATEWAY
// "127.0.0.1:8080", "[::1]:8080"
Status ParseListen(const std::string& listen, GatewayOptions& options) {
  const std::size_t colon = listen.rfind(':');
  const std::string_view port = colon == std::string::npos ? "" : std::string_view(listen).substr(colon + 1);
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), options.port);
  if (port.empty() || parsed.ec != std::errc() || parsed.ptr != port.data() + port.size() || colon == 0) {
    return Status::InvalidArgument("listen \"" + listen + "\": expected HOST:PORT");
  }
  options.host = listen.substr(0, colon);
  if (options.host.size() > 2 && options.host.front() == '[' && options.host.back() == ']') {
    options.host = options.host.substr(1, options.host.size() - 2);
  }
  return Status::Ok();
}
#endif

}  // namespace

Status RunSync(const SyncArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const std::string token, ReadToken(arguments.token_file));
  StopSignal stop;
  DatabaseOptions database_options;
  if (arguments.purge_expired) database_options.expiry_purge = ExpiryPurge::kAlways;
  FORESHORE_ASSIGN_OR_RETURN(const auto database, Database::Open(arguments.database, database_options));
  FORESHORE_ASSIGN_OR_RETURN(const auto watched, Watch(*database, arguments.watch));
  SyncOptions options;
  options.url = arguments.url;
  options.token = token;
  FORESHORE_ASSIGN_OR_RETURN(const auto client, SyncClient::Create(*database, options));
  ProgressBar bar("syncing", 0);
  const SyncProgressCallback progress = [&](const SyncProgress& now) {
    bar.Update(0, Describe(now));
    return !stop.token().stop_requested();
  };
  if (arguments.follow) {
    const Status followed = client->Follow(stop.token(), progress);
    bar.Clear();
    if (!followed.ok() && !(followed.code() == ErrorCode::kCancelled && stop.token().stop_requested())) return followed;
    return database->Close();
  }
  FORESHORE_ASSIGN_OR_RETURN(const SyncReport report, client->SyncOnce(progress));
  bar.Clear();
  FORESHORE_RETURN_IF_ERROR(database->Close());
  return PrintReport(report, arguments.format);
}

Status RunGateway(const GatewayArguments& arguments) {
#ifdef FORESHORE_WITH_GATEWAY
  if (!arguments.tls_certificate.empty() || !arguments.tls_key.empty()) {
    return Status::Unsupported("gateway: this version speaks plain HTTP; put a TLS proxy in front of it");
  }
  if (!arguments.jwt_key.empty()) {
    return Status::Unsupported("gateway: this version knows one shared --token, no --jwt-key");
  }
  if (arguments.store.starts_with("postgres")) {
    return Status::Unsupported("gateway store \"" + arguments.store + "\": this version keeps a directory");
  }
  GatewayOptions options;
  options.store_path = arguments.store;
  FORESHORE_RETURN_IF_ERROR(ParseListen(arguments.listen, options));
  FORESHORE_ASSIGN_OR_RETURN(options.token, ReadToken(arguments.token_file));
  StopSignal stop;
  FORESHORE_ASSIGN_OR_RETURN(const auto gateway, Gateway::Start(options));
  const bool is_v6 = options.host.find(':') != std::string::npos;
  const std::string host = is_v6 ? "[" + options.host + "]" : options.host;
  FORESHORE_RETURN_IF_ERROR(WriteText(stdout, "http://" + host + ":" + std::to_string(gateway->port()) + "\n"));
  FORESHORE_RETURN_IF_ERROR(FlushFile(stdout));
  stop.Wait();
  return gateway->Stop();
#else
  (void)arguments;
  return Status::Unsupported("gateway: this build was made without FORESHORE_WITH_GATEWAY");
#endif
}

}  // namespace foreshore::cli
