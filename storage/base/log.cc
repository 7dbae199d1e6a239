#include "storage/base/log.h"

#include <cstdio>
#include <memory>
#include <mutex>

namespace foreshore {
namespace {

struct SinkHolder {
  std::mutex mutex;
  std::shared_ptr<const LogSink> sink;  // Guarded by mutex; shared so that a replaced sink may finish its call.
};

SinkHolder& Holder() {
  static SinkHolder holder;
  return holder;
}

}  // namespace

void SetLogSink(LogSink sink) {
  const std::lock_guard lock(Holder().mutex);
  Holder().sink = sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr;
}

void Log(LogLevel level, std::string_view domain, std::string_view message) {
  std::shared_ptr<const LogSink> sink;
  {
    const std::lock_guard lock(Holder().mutex);
    sink = Holder().sink;
  }
  if (sink) {
    (*sink)(level, domain, message);
  } else if (level >= LogLevel::kWarning) {
    std::fprintf(stderr, "foreshore %.*s: %.*s\n", static_cast<int>(domain.size()), domain.data(),
                 static_cast<int>(message.size()), message.data());
  }
}

}  // namespace foreshore
