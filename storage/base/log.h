// One sink for what the library wants to say while it works. Errors are returned, not logged; the log is for
// what went on in the background: recovery, rebuilds, sync.
//
// Threads: safe from any thread.
#pragma once

#include <functional>
#include <string_view>

namespace foreshore {

enum class LogLevel { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

// `domain` is a floor or a part of one, such as "index" or "sync".
using LogSink = std::function<void(LogLevel level, std::string_view domain, std::string_view message)>;

// Replaces the sink of the process; an empty one restores the default, which writes warnings and errors, one
// line each, to standard error. (One per process, because background threads outlive their callers.)
void SetLogSink(LogSink sink);
void Log(LogLevel level, std::string_view domain, std::string_view message);

}  // namespace foreshore
