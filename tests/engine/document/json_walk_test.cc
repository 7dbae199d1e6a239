#include "engine/document/json_walk.h"

#include <doctest/doctest.h>

#include <random>

namespace foreshore {
namespace {

// What SkipStringToken must return, byte by byte.
std::size_t SkipByByte(std::string_view text, std::size_t begin) {
  for (std::size_t at = begin + 1; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.size();
}

TEST_CASE(
    "json walk: a string's end is found at every length, with escapes at every place, and never beyond the text") {
  constexpr unsigned kSeed = 20'251'125;
  CAPTURE(kSeed);
  std::mt19937 random(kSeed);
  constexpr char kAlphabet[] = {'a', 'b', '\xC3', '\\', '"', ':', ',', '}'};
  for (int round = 0; round < 20'000; ++round) {
    // Few marks in most rounds, so that long runs without any are met too.
    const unsigned alphabet = round % 3 == 0 ? 8 : 4;
    std::string text = "\"";
    const std::size_t size = random() % 80;
    for (std::size_t i = 0; i < size; ++i) text += random() % 8 == 0 ? kAlphabet[random() % alphabet] : 'x';
    text += "\",";
    text.resize(random() % 4 == 0 ? random() % (text.size() + 1) : text.size());
    if (text.empty()) continue;
    // A block of its own, so that a sanitizer sees a read beyond it.
    const std::vector<char> exact(text.begin(), text.end());
    const std::string_view view(exact.data(), exact.size());
    REQUIRE(SkipStringToken(view, 0) == SkipByByte(view, 0));
  }
}

TEST_CASE("json walk: an expected key is taken only where it stands there whole") {
  const std::string body = R"({"name":1,"names":2,"a":3})";
  JsonMembers members(body);
  JsonMember member;
  REQUIRE(members.NextExpecting("\"name\"", member));
  CHECK(member.key == "\"name\"");
  CHECK(member.value == "1");
  REQUIRE(members.NextExpecting("\"name\"", member));
  CHECK(member.key == "\"names\"");
  CHECK(member.value == "2");
  REQUIRE(members.NextExpecting("", member));
  CHECK(member.key == "\"a\"");
  CHECK(member.value == "3");
  CHECK_FALSE(members.NextExpecting("\"a\"", member));
}

}  // namespace
}  // namespace foreshore
