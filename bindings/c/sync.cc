#include "foreshore/sync.h"

#include "bindings/c/call.h"
#include "bindings/json/reports.h"

using foreshore::Status;
using foreshore::c::Call;
using foreshore::c::CopyOut;
using foreshore::c::OrEmpty;
using foreshore::c::ReadOptions;
using foreshore::c::Required;

namespace {

foreshore::SyncProgressCallback ToCallback(foreshore_sync_callback callback, void* context) {
  if (callback == nullptr) return {};
  return [callback, context](const foreshore::SyncProgress& progress) {
    const foreshore_sync_progress given = {
        .documents_pushed = progress.documents_pushed,
        .documents_pulled = progress.documents_pulled,
        .blobs_sent = progress.blobs_sent,
        .blobs_received = progress.blobs_received,
        .bytes_sent = progress.bytes_sent,
        .bytes_received = progress.bytes_received,
        .push_lag = progress.push_lag,
        .pull_lag = progress.pull_lag,
    };
    return callback(&given, context) != 0;
  };
}

}  // namespace

int32_t foreshore_sync_once(foreshore_database* database, const foreshore_sync_options* options, char** json,
                            foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", options, "options"));
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(options, "foreshore_sync_options"));
    FORESHORE_RETURN_IF_ERROR(Required(given.url, "url"));
    foreshore::SyncOptions sync;
    sync.url = given.url;
    sync.token = OrEmpty(given.token);
    if (given.timeout_ms != 0) sync.timeout = std::chrono::milliseconds(given.timeout_ms);
    FORESHORE_ASSIGN_OR_RETURN(const auto client, foreshore::SyncClient::Create(*database->database, sync));
    FORESHORE_ASSIGN_OR_RETURN(const auto report, client->SyncOnce(ToCallback(given.progress, given.context)));
    return json == nullptr ? Status::Ok() : CopyOut(foreshore::SyncReportJson(report), json);
  });
}

int32_t foreshore_list_rescued(foreshore_database* database, const char* collection, char** json,
                               foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto values, database->database->ListRescued(OrEmpty(collection)));
    return CopyOut(foreshore::RescuedJson(values), json);
  });
}
