#include "engine/readings/reading_column.h"

#include <algorithm>
#include <optional>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::size_t kDigitsMax = 17;  // So that differences of two stay within 64 bits.
constexpr std::uint8_t kScaleMax = 17;
constexpr std::int64_t kPowers[] = {1,
                                    10,
                                    100,
                                    1'000,
                                    10'000,
                                    100'000,
                                    1'000'000,
                                    10'000'000,
                                    100'000'000,
                                    1'000'000'000,
                                    10'000'000'000,
                                    100'000'000'000,
                                    1'000'000'000'000,
                                    10'000'000'000'000,
                                    100'000'000'000'000,
                                    1'000'000'000'000'000,
                                    10'000'000'000'000'000,
                                    100'000'000'000'000'000};

struct Decimal {
  std::int64_t mantissa = 0;
  std::uint8_t scale = 0;
  std::uint8_t digits = 0;
};

// Only what AppendToken writes back to the digit: no exponent, no "-0".
std::optional<Decimal> ParseDecimal(std::string_view token) {
  Decimal decimal;
  const bool negative = token.starts_with('-');
  if (negative) token.remove_prefix(1);
  if (token.empty() || token.size() > kDigitsMax + 1) return std::nullopt;
  bool has_point = false;
  for (const char c : token) {
    if (c == '.') {
      if (has_point) return std::nullopt;
      has_point = true;
      continue;
    }
    if (c < '0' || c > '9') return std::nullopt;
    decimal.mantissa = decimal.mantissa * 10 + (c - '0');
    ++decimal.digits;
    if (has_point) ++decimal.scale;
  }
  if (decimal.digits > kDigitsMax || (has_point && decimal.scale == 0) || (negative && decimal.mantissa == 0)) {
    return std::nullopt;
  }
  if (negative) decimal.mantissa = -decimal.mantissa;
  return decimal;
}

// Differences with runs of zeros in short.
class DeltaWriter {
 public:
  explicit DeltaWriter(ByteString& out) : out_(out) {}
  ~DeltaWriter() { EndZeros(); }
  DeltaWriter(const DeltaWriter&) = delete;
  DeltaWriter& operator=(const DeltaWriter&) = delete;
  void Add(std::uint64_t delta) {
    if (delta == 0) {
      ++zero_count_;
      return;
    }
    EndZeros();
    AppendVarint(out_, ZigZag(static_cast<std::int64_t>(delta)));
  }

 private:
  void EndZeros() {
    if (zero_count_ == 0) return;
    out_ += '\0';
    AppendVarint(out_, zero_count_ - 1);
    zero_count_ = 0;
  }
  ByteString& out_;
  std::uint64_t zero_count_ = 0;
};

class DeltaReader {
 public:
  explicit DeltaReader(ByteReader& reader) : reader_(reader) {}
  std::uint64_t Next() {
    if (zero_count_ > 0) {
      --zero_count_;
      return 0;
    }
    const std::uint64_t raw = reader_.Varint();
    if (raw == 0) {
      zero_count_ = reader_.VarintAtMost(kReadingsInRunMax);
      return 0;
    }
    return static_cast<std::uint64_t>(UnZigZag(raw));
  }
  bool is_even() const { return zero_count_ == 0; }

 private:
  ByteReader& reader_;
  std::uint64_t zero_count_ = 0;
};

Status Damaged(std::string_view what, Bytes bytes) {
  return Status::Corruption("readings: " + std::string(what) + " of " + std::to_string(bytes.size()) +
                            " bytes does not follow the format");
}

bool EncodeDecimals(ByteString& out, std::span<const std::string_view> tokens) {
  std::vector<Decimal> decimals;
  decimals.reserve(tokens.size());
  std::uint8_t scale = 0;
  std::uint8_t scale_min = kScaleMax;
  std::uint8_t whole_digits = 0;
  bool is_trimmed = true;
  bool is_trimmed_but_one = true;
  for (const std::string_view token : tokens) {
    const auto decimal = ParseDecimal(token);
    if (!decimal) return false;
    const bool ends_in_zero = decimal->mantissa % 10 == 0;
    is_trimmed &= decimal->scale == 0 || !ends_in_zero;
    is_trimmed_but_one &= decimal->scale == 1 || (decimal->scale > 1 && !ends_in_zero);
    scale = std::max(scale, decimal->scale);
    scale_min = std::min(scale_min, decimal->scale);
    whole_digits = std::max<std::uint8_t>(whole_digits, static_cast<std::uint8_t>(decimal->digits - decimal->scale));
    decimals.push_back(*decimal);
  }
  ReadingColumn::Kind kind;
  if (scale == scale_min) {
    kind = ReadingColumn::Kind::kFixed;
  } else if (whole_digits + scale > static_cast<int>(kDigitsMax)) {
    return false;
  } else if (is_trimmed) {
    kind = ReadingColumn::Kind::kTrimmed;
  } else if (is_trimmed_but_one) {
    kind = ReadingColumn::Kind::kTrimmedButOne;
  } else {
    return false;
  }
  AppendFixed(out, static_cast<std::uint8_t>(kind));
  AppendFixed(out, scale);
  DeltaWriter deltas(out);
  std::int64_t before = 0;
  for (const Decimal& decimal : decimals) {
    const std::int64_t mantissa = decimal.mantissa * kPowers[scale - decimal.scale];
    deltas.Add(static_cast<std::uint64_t>(mantissa) - static_cast<std::uint64_t>(before));
    before = mantissa;
  }
  return true;
}

}  // namespace

void ReadingColumn::AppendToken(std::string& out, std::size_t row) const {
  if (!is_decimal()) {
    out += TokenAt(row);
    return;
  }
  const std::int64_t mantissa = mantissas[row];
  const std::uint64_t magnitude =
      mantissa < 0 ? 0 - static_cast<std::uint64_t>(mantissa) : static_cast<std::uint64_t>(mantissa);
  std::string digits = std::to_string(magnitude);
  if (digits.size() <= scale) digits.insert(0, scale + 1 - digits.size(), '0');
  if (mantissa < 0) out += '-';
  const std::size_t whole = digits.size() - scale;
  std::size_t end = digits.size();
  if (kind != Kind::kFixed) {
    const std::size_t end_min = whole + (kind == Kind::kTrimmedButOne ? 1 : 0);
    while (end > end_min && digits[end - 1] == '0') --end;
  }
  out.append(digits, 0, whole);
  if (end > whole) out.append(1, '.').append(digits, whole, end - whole);
}

void EncodeReadingColumn(ByteString& out, std::span<const std::string_view> tokens) {
  const bool is_constant = std::all_of(tokens.begin(), tokens.end(), [&](auto token) { return token == tokens[0]; });
  if (is_constant && !tokens.empty()) {
    AppendFixed(out, static_cast<std::uint8_t>(ReadingColumn::Kind::kConstant));
    AppendPrefixed(out, tokens[0]);
    return;
  }
  if (EncodeDecimals(out, tokens)) return;
  AppendFixed(out, static_cast<std::uint8_t>(ReadingColumn::Kind::kTokens));
  std::string_view before;
  for (const std::string_view token : tokens) {
    if (token == before) {
      out += '\0';
      continue;
    }
    AppendVarint(out, token.size() + 1);
    out += token;
    before = token;
  }
}

Result<ReadingColumn> DecodeReadingColumn(Bytes bytes, std::size_t count) {
  ByteReader reader(bytes);
  ReadingColumn column;
  const auto kind = reader.Fixed<std::uint8_t>();
  if (!reader.ok() || kind < 1 || kind > 5) return Damaged("column", bytes);
  column.kind = static_cast<ReadingColumn::Kind>(kind);
  if (column.is_decimal()) {
    column.scale = reader.Fixed<std::uint8_t>();
    if (column.scale > kScaleMax) return Damaged("column", bytes);
    column.mantissas.reserve(count);
    DeltaReader deltas(reader);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      value += deltas.Next();
      column.mantissas.push_back(static_cast<std::int64_t>(value));
    }
    if (!deltas.is_even()) reader.Fail();
  } else if (column.kind == ReadingColumn::Kind::kConstant) {
    column.tokens.push_back(reader.Prefixed());
    if (column.tokens[0].empty()) reader.Fail();
  } else {
    column.tokens.reserve(count);
    std::string_view token;
    for (std::size_t i = 0; i < count && reader.ok(); ++i) {
      const std::uint64_t size = reader.Varint();
      if (size > 0) token = reader.Take(size - 1);
      if (token.empty()) reader.Fail();
      column.tokens.push_back(token);
    }
  }
  if (!reader.ok() || !reader.at_end()) return Damaged("column", bytes);
  return column;
}

void EncodeSteadyColumn(ByteString& out, std::span<const std::int64_t> values) {
  DeltaWriter deltas(out);
  std::uint64_t before = 0;
  std::uint64_t delta_before = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<std::uint64_t>(values[i]);
    const std::uint64_t delta = value - before;
    // The first value is itself; the second the first difference; from then on what changes in the difference.
    deltas.Add(i < 2 ? delta : delta - delta_before);
    delta_before = delta;
    before = value;
  }
}

Result<std::vector<std::int64_t>> DecodeSteadyColumn(Bytes bytes, std::size_t count) {
  ByteReader reader(bytes);
  std::vector<std::int64_t> values;
  values.reserve(count);
  DeltaReader deltas(reader);
  std::uint64_t value = 0;
  std::uint64_t delta = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t step = deltas.Next();
    delta = i < 2 ? step : delta + step;
    value += delta;
    values.push_back(static_cast<std::int64_t>(value));
  }
  if (!reader.ok() || !reader.at_end() || !deltas.is_even()) return Damaged("times", bytes);
  return values;
}

}  // namespace foreshore
