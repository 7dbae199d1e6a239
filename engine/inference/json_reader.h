// Small JSON files that come with models, read whole: parsed once, depth and size bounded, duplicate keys refused.
//
// Lifetime: elements belong to the JsonReader they came from.
// Threads: one reader, one thread.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

class JsonReader {
 public:
  static constexpr std::size_t kDepthMax = 32;

  // Integers beyond 64 bits, which files write for "no limit", are read as floats. `name` is what messages call the
  // file. kLimit above `size_bytes_max`; kCorruption for what is not JSON, is not an object, or names a key twice in
  // one object.
  Status Parse(std::string_view name, Bytes text, std::size_t size_bytes_max);

  simdjson::dom::object root() const { return root_; }

 private:
  simdjson::dom::parser parser_;
  simdjson::dom::object root_;
};

// The member of that type, or nothing where it is absent, null or of another type.
std::optional<simdjson::dom::element> JsonMember(simdjson::dom::object object, std::string_view key);
std::optional<std::string_view> JsonString(simdjson::dom::object object, std::string_view key);
std::optional<std::uint64_t> JsonUnsigned(simdjson::dom::object object, std::string_view key);
std::optional<double> JsonNumber(simdjson::dom::object object, std::string_view key);
std::optional<bool> JsonBool(simdjson::dom::object object, std::string_view key);
std::optional<simdjson::dom::object> JsonObject(simdjson::dom::object object, std::string_view key);
std::optional<simdjson::dom::array> JsonArray(simdjson::dom::object object, std::string_view key);

}  // namespace foreshore
