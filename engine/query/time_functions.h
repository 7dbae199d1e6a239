// time_bucket(width, time[, unit]) and the aggregates first(value, time) and last(value, time).
//
// Threads: as the session that owns the connection.
#pragma once

#include <cstdint>
#include <string_view>

#include "foreshore/collection.h"
#include "foreshore/status.h"

namespace foreshore {

class SessionState;

// "15m": a whole number and s, m, h, d, w, ms, us or ns; how many units of time that is. kInvalidArgument where it is
// none or no whole number of units.
Result<std::int64_t> ParseBucketWidth(std::string_view text, TimeUnit unit);
// The start of the interval that `time` is in; intervals are counted from 1970.
std::int64_t BucketOf(std::int64_t time, std::int64_t width);
Status RegisterTimeFunctions(SessionState& session);

}  // namespace foreshore
