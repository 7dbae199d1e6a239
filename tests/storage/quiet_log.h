// Keeps the library's own warnings out of a test's output, where they are what the test is about.
#pragma once

#include <string_view>

#include "storage/base/log.h"

namespace foreshore {

class QuietLog {
 public:
  QuietLog() {
    SetLogSink([](LogLevel, std::string_view, std::string_view) {});
  }
  ~QuietLog() { SetLogSink({}); }
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;
};

}  // namespace foreshore
