#include "engine/document/json_number.h"

#include <charconv>
#include <limits>

namespace foreshore {
namespace {

// from_chars says "out of range" for too large and too small alike. The decimal exponent of the first digit that is
// not zero tells them apart.
double OutOfRangeNumber(std::string_view token) {
  const bool negative = token.front() == '-';
  long long exponent = 0;
  const std::size_t mark = token.find_first_of("eE");
  const std::string_view mantissa =
      token.substr(negative, (mark == std::string_view::npos ? token.size() : mark) - negative);
  if (mark != std::string_view::npos) {
    std::string_view digits = token.substr(mark + 1);
    if (digits.front() == '+') digits.remove_prefix(1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    static_cast<void>(end);
    if (error != std::errc()) exponent = digits.front() == '-' ? -(1LL << 60) : (1LL << 60);
  }
  const std::size_t point = mantissa.find('.');
  const std::size_t first = mantissa.find_first_not_of("0.");
  if (first == std::string_view::npos) return negative ? -0.0 : 0.0;
  const auto whole = static_cast<long long>(point == std::string_view::npos ? mantissa.size() : point);
  const bool is_large = whole - static_cast<long long>(first) + exponent > 0;
  const double magnitude = is_large ? std::numeric_limits<double>::infinity() : 0.0;
  return negative ? -magnitude : magnitude;
}

}  // namespace

JsonNumber ParseJsonNumber(std::string_view token) {
  JsonNumber number;
  const char* const end = token.data() + token.size();
  const auto [integer_end, integer_error] = std::from_chars(token.data(), end, number.integer);
  if (integer_error == std::errc() && integer_end == end) {
    number.is_integer = true;
    return number;
  }
  const auto [real_end, real_error] = std::from_chars(token.data(), end, number.real);
  static_cast<void>(real_end);
  if (real_error == std::errc::result_out_of_range) number.real = OutOfRangeNumber(token);
  return number;
}

}  // namespace foreshore
