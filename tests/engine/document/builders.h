// Small parts that the document tests build with.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "engine/document/json.h"
#include "engine/document/record.h"
#include "engine/document/registers.h"

namespace foreshore {

// Session `number` of a replica of its own; number >= 1.
inline SessionKey TestSession(std::uint64_t number) {
  SessionKey key;
  key.replica[0] = static_cast<std::uint8_t>(number);
  key.session = number;
  return key;
}

inline std::uint64_t TestHlc(std::int64_t ms) {
  return HlcFromUnixMs(1'790'000'000'000 + ms);
}

inline DocumentState EmptyState(const std::string& id = "d") {
  DocumentState state;
  state.id = id;
  return state;
}

// "a.b" to the path with separators; no escapes.
inline std::string P(const std::string& dotted) {
  return ParsePath(dotted).value();
}

}  // namespace foreshore
