// Goal: every token comes back to the digit, whatever the column is made of, and no damaged record is taken for a
// whole.
#include "engine/readings/reading_record.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <random>

#include "engine/document/json.h"
#include "storage/base/checksum.h"
#include "storage/base/clock.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

std::vector<std::string> RoundTrip(const std::vector<std::string>& tokens, ReadingColumn::Kind expected,
                                   std::size_t* bytes = nullptr) {
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  ByteString encoded;
  EncodeReadingColumn(encoded, views);
  if (bytes != nullptr) *bytes = encoded.size();
  const auto column = DecodeReadingColumn(encoded, tokens.size());
  REQUIRE_MESSAGE(column.ok(), column.status().ToString());
  CHECK(column->kind == expected);
  std::vector<std::string> back;
  for (std::size_t i = 0; i < tokens.size(); ++i) column->AppendToken(back.emplace_back(), i);
  return back;
}

TEST_CASE("reading column: each kind is chosen where it fits and gives the tokens back") {
  using Kind = ReadingColumn::Kind;
  const std::vector<std::pair<std::vector<std::string>, Kind>> cases = {
      {{"1", "2", "-3", "0"}, Kind::kFixed},
      {{"20.50", "20.00", "-0.01"}, Kind::kFixed},
      {{"20", "20.5", "20.25", "-1.125"}, Kind::kTrimmed},
      {{"20.0", "20.5", "20.25", "-3.0"}, Kind::kTrimmedButOne},
      {{"20.0", "20", "20.25"}, Kind::kTokens},
      {{"20.10", "20.5"}, Kind::kTokens},
      {{"-0", "1"}, Kind::kTokens},
      {{"-0.0", "1.5"}, Kind::kTokens},
      {{"1e3", "2"}, Kind::kTokens},
      {{"12345678901234567", "-12345678901234567"}, Kind::kFixed},
      {{"123456789012345678", "1"}, Kind::kTokens},
      {{"9223372036854775807", "-9223372036854775808"}, Kind::kTokens},
      {{"1234567890123456", "0.12"}, Kind::kTokens},
      {{"99999999999999999", "-99999999999999999", "99999999999999999"}, Kind::kFixed},
      {{"\"a\"", "\"a\"", "\"b\"", "null", "true", "[1,2]", "{\"x\":1}", "\"\""}, Kind::kTokens},
      {{"\"C\"", "\"C\"", "\"C\""}, Kind::kConstant},
      {{"7"}, Kind::kConstant},
  };
  for (const auto& [tokens, kind] : cases) {
    CAPTURE(tokens[0]);
    CHECK(RoundTrip(tokens, kind) == tokens);
  }
}

TEST_CASE("reading column: slow sensors take a byte or two each, a constant next to nothing") {
  std::vector<std::string> tokens;
  for (int i = 0; i < 1000; ++i) tokens.push_back("20." + std::to_string(10 + i * 7 % 13));
  std::size_t bytes = 0;
  RoundTrip(tokens, ReadingColumn::Kind::kFixed, &bytes);
  CHECK(bytes < 1100);
  ByteString steady;
  std::vector<std::int64_t> times;
  for (int i = 0; i < 1000; ++i) times.push_back(1'795'000'000'000 + i * 1000);
  EncodeSteadyColumn(steady, times);
  CHECK(steady.size() < 16);
  CHECK(*DecodeSteadyColumn(steady, times.size()) == times);
}

TEST_CASE("reading column: times at the ends of 64 bits come back") {
  const std::vector<std::int64_t> times = {INT64_MIN, -1, 0, 1, INT64_MAX, INT64_MAX};
  ByteString encoded;
  EncodeSteadyColumn(encoded, times);
  CHECK(*DecodeSteadyColumn(encoded, times.size()) == times);
}

std::vector<std::string> Bodies(Bytes record, std::vector<std::int64_t>* numbers = nullptr) {
  const auto view = DecodeReadingRecord(record);
  REQUIRE_MESSAGE(view.ok(), view.status().ToString());
  std::vector<std::string> bodies;
  for (const ReadingRunView& run_view : view->runs) {
    auto run = ReadingRun::Open(run_view);
    REQUIRE_MESSAGE(run.ok(), run.status().ToString());
    for (std::size_t row = 0; row < run->count(); ++row) {
      REQUIRE(run->AppendBody(bodies.emplace_back(), run_view.series, row).ok());
      if (numbers != nullptr) numbers->push_back(run->number(row));
    }
  }
  return bodies;
}

TEST_CASE("reading record: documents of any shape come back sorted by series, shape and time") {
  ReadingRecordBuilder builder("\"t\"", "\"s\"");
  const std::vector<std::string> given = {R"({"t":5,"s":"a","v":1.50})",  R"({"s":"b","v":2,"t":1})",
                                          R"({"t":3,"s":"a","v":1.25})",  R"({"t":4,"s":"a"})",
                                          R"({"t":5,"s":"a","v":-7.00})", R"({"t":2,"s":7,"v":{"x":[1]}})"};
  std::int64_t number = 1;
  for (const std::string& body : given) {
    REQUIRE(builder.Parse(body).ok());
    builder.Add(number++);
  }
  std::vector<std::int64_t> numbers;
  const auto bodies = Bodies(builder.TakeRecord(100), &numbers);
  CHECK(bodies == std::vector<std::string>{given[2], given[0], given[4], given[3], given[1], given[5]});
  CHECK(numbers == std::vector<std::int64_t>{3, 1, 5, 4, 2, 6});
  CHECK(builder.count() == 0);
}

TEST_CASE("reading record: a reading written twice is there once, as it was written last") {
  ReadingRecordBuilder builder("\"t\"", "");
  for (const char* body : {R"({"t":5,"v":1})", R"({"t":5,"v":2,"w":3})", R"({"t":6,"v":1})"}) {
    REQUIRE(builder.Parse(body).ok());
    builder.Add(body[5] == '5' ? 7 : 8);
  }
  CHECK(Bodies(builder.TakeRecord(9)) == std::vector<std::string>{R"({"t":6,"v":1})", R"({"t":5,"v":2,"w":3})"});
}

TEST_CASE("reading record: a missing or unfit time or series is refused, by name") {
  ReadingRecordBuilder builder("\"t\"", "\"s\"");
  for (const char* body : {R"({"s":"a"})", R"({"t":1.5,"s":"a"})", R"({"t":"1","s":"a"})", R"({"t":null,"s":"a"})",
                           R"({"t":9223372036854775808,"s":"a"})", R"({"t":-0,"s":"a"})"}) {
    CAPTURE(body);
    const auto place = builder.Parse(body);
    CHECK(place.status().code() == ErrorCode::kInvalidArgument);
    CHECK(place.status().message().find("\"t\"") != std::string::npos);
  }
  for (const char* body : {R"({"t":1})", R"({"t":1,"s":""})", R"({"t":1,"s":"a\"b"})", R"({"t":1,"s":1.5})",
                           R"({"t":1,"s":true})", R"({"t":1,"s":["a"]})"}) {
    CAPTURE(body);
    const auto place = builder.Parse(body);
    CHECK(place.status().code() == ErrorCode::kInvalidArgument);
    CHECK(place.status().message().find("\"s\"") != std::string::npos);
  }
  CHECK(builder.Parse("{\"t\":1,\"s\":\"" + std::string(161, 'x') + "\"}").status().code() ==
        ErrorCode::kInvalidArgument);
  CHECK(builder.count() == 0);
}

TEST_CASE("reading record: any damage is an error, even behind a right checksum") {
  const char* asked = std::getenv("FORESHORE_TEST_SEED");
  const std::uint64_t seed = asked != nullptr ? std::strtoull(asked, nullptr, 10) : std::random_device{}();
  INFO("FORESHORE_TEST_SEED=" << seed);
  SeededRandom random(seed);
  ReadingRecordBuilder builder("\"t\"", "\"s\"");
  for (int i = 0; i < 200; ++i) {
    const std::string body = "{\"t\":" + std::to_string(i * 10 + i % 3) + ",\"s\":\"" + std::string(1, "abc"[i % 3]) +
                             "\",\"v\":" + std::to_string(i % 17) + ".5,\"w\":\"" + std::to_string(i % 2) + "\"}";
    REQUIRE(builder.Parse(body).ok());
    builder.Add(i);
  }
  const ByteString good = builder.TakeRecord(1000);
  for (std::size_t at = 0; at < good.size(); ++at) {
    ByteString bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (random.Next64() % 8)));
    CHECK(!DecodeReadingRecord(bad).ok());
    CHECK(!DecodeReadingRecord(Bytes(good).substr(0, at)).ok());
  }
  // With the checksum made right again nothing may be touched out of bounds; an error or other readings may come of it.
  for (int round = 0; round < 20'000; ++round) {
    ByteString bad = good;
    const std::size_t flips = 1 + random.Next64() % 3;
    for (std::size_t i = 0; i < flips; ++i) {
      bad[5 + random.Next64() % (bad.size() - 5)] = static_cast<char>(random.Next64());
    }
    const std::uint32_t crc = Crc32c(Bytes(bad).substr(5));
    std::memcpy(bad.data() + 1, &crc, sizeof crc);
    const auto view = DecodeReadingRecord(bad);
    if (!view.ok()) continue;
    for (const ReadingRunView& run_view : view->runs) {
      auto run = ReadingRun::Open(run_view);
      if (!run.ok()) continue;
      std::string body;
      for (std::size_t row = 0; row < run->count(); ++row) {
        if (!run->AppendBody(body, run_view.series, row).ok()) break;
      }
    }
  }
}

}  // namespace
}  // namespace foreshore
