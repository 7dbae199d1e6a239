#include "engine/inference/json_reader.h"

#include <algorithm>
#include <vector>

namespace foreshore {

namespace {

// Recursion is bounded by the parser's depth limit.
std::optional<std::string> FindDuplicateKey(simdjson::dom::element element) {
  if (element.is_array()) {
    for (const simdjson::dom::element child : simdjson::dom::array(element.get_array().value_unsafe())) {
      if (auto duplicate = FindDuplicateKey(child)) return duplicate;
    }
    return std::nullopt;
  }
  if (!element.is_object()) return std::nullopt;
  std::vector<std::string_view> keys;
  for (const auto [key, value] : simdjson::dom::object(element.get_object().value_unsafe())) {
    keys.push_back(key);
    if (auto duplicate = FindDuplicateKey(value)) return duplicate;
  }
  std::sort(keys.begin(), keys.end());
  const auto twin = std::adjacent_find(keys.begin(), keys.end());
  if (twin == keys.end()) return std::nullopt;
  return std::string(twin->substr(0, 128));
}

// Writes an exponent behind every integer of 19 digits or more, outside strings: the parser refuses integers beyond 64
// bits and takes floats of any size.
std::string WithLongIntegersAsFloats(Bytes text) {
  std::string result;
  result.reserve(text.size() + 16);
  bool in_string = false;
  std::size_t digit_count = 0;
  bool is_fraction = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool is_digit = c >= '0' && c <= '9';
    if (!in_string && !is_digit && digit_count > 0) {
      is_fraction = is_fraction || c == '.' || c == 'e' || c == 'E';
      if (digit_count >= 19 && !is_fraction) result += "e0";
      digit_count = 0;
    }
    // Digits that follow a point or an exponent belong to a float already.
    if (!is_digit && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-') is_fraction = false;
    if (!in_string && is_digit) ++digit_count;
    result += c;
    if (in_string && c == '\\' && i + 1 < text.size()) {
      result += text[++i];
    } else if (c == '"') {
      in_string = !in_string;
    }
  }
  return result;
}

}  // namespace

Status JsonReader::Parse(std::string_view name, Bytes text, std::size_t size_bytes_max) {
  const std::string object(name);
  if (text.size() > size_bytes_max) {
    return Status::Limit(object + ": " + std::to_string(text.size()) + " bytes of JSON, at most " +
                         std::to_string(size_bytes_max) + " are allowed");
  }
  // The parser would copy no bytes from a null pointer, which is undefined.
  if (text.empty()) return Status::Corruption(object + ": not valid JSON: empty");
  if (parser_.allocate(std::max<std::size_t>(text.size(), 64), kDepthMax) != simdjson::SUCCESS) {
    return Status::Limit(object + ": no memory to parse " + std::to_string(text.size()) + " bytes of JSON");
  }
  simdjson::dom::element element;
  simdjson::error_code error = parser_.parse(text.data(), text.size()).get(element);
  if (error == simdjson::NUMBER_ERROR) {
    const std::string rewritten = WithLongIntegersAsFloats(text);
    if (parser_.allocate(std::max<std::size_t>(rewritten.size(), 64), kDepthMax) == simdjson::SUCCESS) {
      error = parser_.parse(rewritten.data(), rewritten.size()).get(element);
    }
  }
  if (error == simdjson::DEPTH_ERROR) {
    return Status::Limit(object + ": JSON is nested deeper than " + std::to_string(kDepthMax) + " levels");
  }
  if (error != simdjson::SUCCESS) {
    return Status::Corruption(object + ": not valid JSON: " + simdjson::error_message(error));
  }
  if (element.get(root_) != simdjson::SUCCESS) {
    return Status::Corruption(object + ": JSON is not an object");
  }
  if (const auto duplicate = FindDuplicateKey(element)) {
    return Status::Corruption(object + ": JSON has the key \"" + *duplicate + "\" twice in one object");
  }
  return Status::Ok();
}

namespace {

template <typename T>
std::optional<T> Get(simdjson::dom::object object, std::string_view key) {
  T value;
  if (object.at_key(key).get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

}  // namespace

std::optional<simdjson::dom::element> JsonMember(simdjson::dom::object object, std::string_view key) {
  auto element = Get<simdjson::dom::element>(object, key);
  if (element.has_value() && element->is_null()) return std::nullopt;
  return element;
}
std::optional<std::string_view> JsonString(simdjson::dom::object object, std::string_view key) {
  return Get<std::string_view>(object, key);
}
std::optional<std::uint64_t> JsonUnsigned(simdjson::dom::object object, std::string_view key) {
  return Get<std::uint64_t>(object, key);
}
std::optional<double> JsonNumber(simdjson::dom::object object, std::string_view key) {
  return Get<double>(object, key);
}
std::optional<bool> JsonBool(simdjson::dom::object object, std::string_view key) {
  return Get<bool>(object, key);
}
std::optional<simdjson::dom::object> JsonObject(simdjson::dom::object object, std::string_view key) {
  return Get<simdjson::dom::object>(object, key);
}
std::optional<simdjson::dom::array> JsonArray(simdjson::dom::object object, std::string_view key) {
  return Get<simdjson::dom::array>(object, key);
}

}  // namespace foreshore
