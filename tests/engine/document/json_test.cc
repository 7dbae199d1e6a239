#include "engine/document/json.h"

#include <doctest/doctest.h>
#include <simdjson.h>

#include <map>

#include "storage/base/clock.h"

namespace foreshore {
namespace {

std::string Nested(std::size_t depth, const std::string& open, const std::string& inside, const std::string& close) {
  std::string text;
  for (std::size_t i = 0; i < depth; ++i) text += open;
  text += inside;
  for (std::size_t i = 0; i < depth; ++i) text += close;
  return text;
}

using namespace std::string_literals;

TEST_CASE("normalise: accepts all of RFC 8259 and keeps one form of it") {
  const std::pair<std::string, std::string> cases[] = {
      // Structure and white space.
      {"{}", "{}"},
      {" \t\r\n{ \t\r\n} \t\r\n", "{}"},
      {"[]", "[]"},
      {"[ 1 , 2 ]", "[1,2]"},
      {"{ \"a\" : { \"b\" : [ ] , \"c\" : { } } }", R"({"a":{"b":[],"c":{}}})"},
      {"[[],[[]],{}]", "[[],[[]],{}]"},
      {R"({"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]})", R"({"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]})"},
      {R"({"":0})", R"({"":0})"},
      {R"({"a":1,"A":1,"a ":1})", R"({"a":1,"A":1,"a ":1})"},
      // Literals.
      {"null", "null"},
      {" true ", "true"},
      {"[false]", "[false]"},
      // Numbers, to the digit.
      {"0", "0"},
      {"-0", "-0"},
      {"-0.0", "-0.0"},
      {"1.0", "1.0"},
      {"1.50", "1.50"},
      {"10e0", "10e0"},
      {"1E+2", "1E+2"},
      {"1e-02", "1e-02"},
      {"0e1", "0e1"},
      {"123456789012345678901234567890", "123456789012345678901234567890"},
      {"1e999999", "1e999999"},
      {"-1e-999999", "-1e-999999"},
      {"0.1234567890123456789012345678901234567890", "0.1234567890123456789012345678901234567890"},
      // Strings: only the escapes that JSON demands are left.
      {R"("")", R"("")"},
      {R"("\"\\\/\b\f\n\r\t")", R"("\"\\/\b\f\n\r\t")"},
      {R"("\u0022\u005c\u005C\u002f\u0008\u000c\u000a\u000d\u0009")", R"("\"\\\\/\b\f\n\r\t")"},
      {R"("\u0041\u00e9\u20AC")", "\"A\xC3\xA9\xE2\x82\xAC\""},
      {R"("\ud83d\ude00\uDBFF\uDFFF\ud800\udc00")", "\"\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF\xF0\x90\x80\x80\""},
      {R"("\u0000\u001F\u007f")", "\"\\u0000\\u001f\x7F\""},
      {R"("\uFFFF\ufdd0\uE000\ud7ff")", "\"\xEF\xBF\xBF\xEF\xB7\x90\xEE\x80\x80\xED\x9F\xBF\""},
      {"\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"",
       "\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\""},
      {"\"'`/\x7F\"", "\"'`/\x7F\""},
      {"\"1234567\\n\"", "\"1234567\\n\""},
      {"\"12345678\\n9012345\\u00e9\"", "\"12345678\\n9012345\xC3\xA9\""},
      {"[\"\\u2028\"]", "[\"\xE2\x80\xA8\"]"},
  };
  for (const auto& [text, expected] : cases) {
    CAPTURE(text);
    const auto result = NormaliseValue(text);
    REQUIRE_MESSAGE(result.ok(), result.status().ToString());
    CHECK(*result == expected);
    CHECK(*NormaliseValue(*result) == expected);
  }
}

TEST_CASE("normalise: refuses everything else and says where") {
  const struct {
    std::string text;
    std::string message;  // The end of it.
  } cases[] = {
      {"", "byte 0: found the end of the text, expected a value"},
      {"   ", "byte 3: found the end of the text, expected a value"},
      {"{", "byte 1: found the end of the text, expected a key in quotes"},
      {"[", "byte 1: found the end of the text, expected a value"},
      {"}", "byte 0: found '}', expected a value"},
      {"[1,2}", "byte 4: found '}', expected ',' or ']'"},
      {"[1", "byte 2: found the end of the text, expected ',' or ']'"},
      {"[1,", "byte 3: found the end of the text, expected a value"},
      {"[1,]", "byte 3: found ']', expected a value"},
      {"[,1]", "byte 1: found ',', expected a value"},
      {"[1 2]", "byte 3: found '2', expected ',' or ']'"},
      {"[1],", "byte 3: found ',', expected the end of the text"},
      {"[1]]", "byte 3: found ']', expected the end of the text"},
      {"{}{}", "byte 2: found '{', expected the end of the text"},
      {"1 1", "byte 2: found '1', expected the end of the text"},
      {R"({"a":1,})", "byte 7: found '}', expected a key in quotes"},
      {R"({"a" 1})", "byte 5: found '1', expected ':'"},
      {R"({"a":})", "byte 5: found '}', expected a value"},
      {R"({"a"})", "byte 4: found '}', expected ':'"},
      {R"({"a":1 "b":2})", "byte 7: found '\"', expected ',' or '}'"},
      {R"({"a":1])", "byte 6: found ']', expected ',' or '}'"},
      {R"({a:1})", "byte 1: found 'a', expected a key in quotes"},
      {R"({1:1})", "byte 1: found '1', expected a key in quotes"},
      {R"({'a':1})", "byte 1: found ''', expected a key in quotes"},
      {R"({,})", "byte 1: found ',', expected a key in quotes"},
      {R"({"a":1,,"b":2})", "byte 7: found ',', expected a key in quotes"},
      {"// c\n1", "byte 0: found '/', expected a value"},
      {"[1]#", "byte 3: found '#', expected the end of the text"},
      {"\xEF\xBB\xBF{}", "byte 0: found byte 0xef, expected a value"},
      {"\f1", "byte 0: found byte 0x0c, expected a value"},
      {"1\xC2\xA0", "byte 1: found byte 0xc2, expected the end of the text"},
      {"{}\0"s, "byte 2: found byte 0x00, expected the end of the text"},
      {"nul", "byte 3: found the end of the text, expected null"},
      {"nulL", "byte 3: found 'L', expected null"},
      {"nullx", "byte 4: found 'x', expected the end of the text"},
      {"True", "byte 0: found 'T', expected a value"},
      {"fals,", "byte 4: found ',', expected false"},
      {"NaN", "byte 0: found 'N', expected a value"},
      {"Infinity", "byte 0: found 'I', expected a value"},
      {"-", "byte 1: found the end of the text, expected a digit"},
      {"-a", "byte 1: found 'a', expected a digit"},
      {"+1", "byte 0: found '+', expected a value"},
      {"01", "byte 1: found '1', expected no digit after a leading 0"},
      {"-01", "byte 2: found '1', expected no digit after a leading 0"},
      {".5", "byte 0: found '.', expected a value"},
      {"1.", "byte 2: found the end of the text, expected a digit"},
      {"1.e1", "byte 2: found 'e', expected a digit"},
      {"1e", "byte 2: found the end of the text, expected a digit"},
      {"1e+", "byte 3: found the end of the text, expected a digit"},
      {"1e1.5", "byte 3: found '.', expected the end of the text"},
      {"0x1", "byte 1: found 'x', expected the end of the text"},
      {"1_000", "byte 1: found '_', expected the end of the text"},
      {"--1", "byte 1: found '-', expected a digit"},
      {"\"", "byte 1: found the end of the text, expected '\"'"},
      {"\"abc", "byte 4: found the end of the text, expected '\"'"},
      {"\"\\", "byte 2: found the end of the text, expected an escape"},
      {"\"\\\"", "byte 3: found the end of the text, expected '\"'"},
      {R"("\x41")", "byte 2: found 'x', expected one of \" \\ / b f n r t u after a backslash"},
      {R"("\U0041")", "byte 2: found 'U', expected one of \" \\ / b f n r t u after a backslash"},
      {R"("\'")", "byte 2: found ''', expected one of \" \\ / b f n r t u after a backslash"},
      {R"("\u")", "byte 3: found '\"', expected four hexadecimal digits"},
      {R"("\u00g0")", "byte 5: found 'g', expected four hexadecimal digits"},
      {R"("\u004)", "byte 6: found the end of the text, expected four hexadecimal digits"},
      {R"("\ud800")", "byte 1: found a high surrogate alone, expected its low surrogate after it"},
      {R"("\ud800\n")", "byte 1: found a high surrogate alone, expected its low surrogate after it"},
      {R"("\ud800\ud800")", "byte 1: found a high surrogate alone, expected its low surrogate after it"},
      {R"("\ud800\u0041")", "byte 1: found a high surrogate alone, expected its low surrogate after it"},
      {R"("\ud800x")", "byte 1: found a high surrogate alone, expected its low surrogate after it"},
      {R"("x\udc00")", "byte 2: found a low surrogate alone, expected its high surrogate before it"},
      {R"("\udfff\ud800")", "byte 1: found a low surrogate alone, expected its high surrogate before it"},
      {"\"\n\"", "byte 1: found byte 0x0a, expected no control character inside a string"},
      {"\"a\tb\"", "byte 2: found byte 0x09, expected no control character inside a string"},
      {"\"\0\""s, "byte 1: found byte 0x00, expected no control character inside a string"},
      {"\"12345678\x1F\"", "byte 9: found byte 0x1f, expected no control character inside a string"},
      {"\"\x80\"", "byte 1: found byte 0x80, expected UTF-8"},
      {"\"\xBF\"", "byte 1: found byte 0xbf, expected UTF-8"},
      {"\"\xC0\x80\"", "byte 1: found byte 0xc0, expected UTF-8"},
      {"\"\xC1\xBF\"", "byte 1: found byte 0xc1, expected UTF-8"},
      {"\"\xC3\"", "byte 1: found byte 0xc3, expected UTF-8"},
      {"\"\xC3\xA9\xC3", "byte 3: found byte 0xc3, expected UTF-8"},
      {"\"\xE0\x80\x80\"", "byte 1: found byte 0xe0, expected UTF-8"},
      {"\"\xE0\x9F\xBF\"", "byte 1: found byte 0xe0, expected UTF-8"},
      {"\"\xE2\x82\"", "byte 1: found byte 0xe2, expected UTF-8"},
      {"\"\xED\xA0\x80\"", "byte 1: found byte 0xed, expected UTF-8"},
      {"\"\xED\xBF\xBF\"", "byte 1: found byte 0xed, expected UTF-8"},
      {"\"\xF0\x80\x80\x80\"", "byte 1: found byte 0xf0, expected UTF-8"},
      {"\"\xF0\x8F\xBF\xBF\"", "byte 1: found byte 0xf0, expected UTF-8"},
      {"\"\xF0\x9F\x98\"", "byte 1: found byte 0xf0, expected UTF-8"},
      {"\"\xF4\x90\x80\x80\"", "byte 1: found byte 0xf4, expected UTF-8"},
      {"\"\xF5\x80\x80\x80\"", "byte 1: found byte 0xf5, expected UTF-8"},
      {"\"\xFF\"", "byte 1: found byte 0xff, expected UTF-8"},
      {"\"\xFE\xFF\"", "byte 1: found byte 0xfe, expected UTF-8"},
      {R"({"a":1,"a":2})", "byte 7: found key \"a\" twice in one object, expected each key once"},
      {R"({"a":1,"\u0061":2})", "byte 7: found key \"a\" twice in one object, expected each key once"},
      {R"({"\/":1,"b":{},"/":2})", "byte 15: found key \"/\" twice in one object, expected each key once"},
      {R"([{"x":{"":1,"":2}}])", "byte 12: found key \"\" twice in one object, expected each key once"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    const auto result = NormaliseValue(c.text);
    REQUIRE_FALSE(result.ok());
    CHECK(result.status().code() == ErrorCode::kInvalidArgument);
    CHECK(result.status().message() == "JSON: " + c.message);
  }
}

TEST_CASE("normalise: a document is an object") {
  CHECK(NormaliseDocument(" {} ").ok());
  for (const char* text : {"[]", "1", "\"{}\"", "", " null"}) {
    CAPTURE(text);
    const auto result = NormaliseDocument(text);
    REQUIRE_FALSE(result.ok());
    CHECK(result.status().code() == ErrorCode::kInvalidArgument);
    CHECK(result.status().message().find("expected an object") != std::string::npos);
  }
}

TEST_CASE("normalise: finds a duplicate among any number of keys") {
  for (const int count : {2, 15, 16, 17, 18, 63, 64, 65, 66, 300, 4000}) {
    CAPTURE(count);
    std::string text = "{\"o\":{";
    for (int i = 0; i < count; ++i) text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":{\"k0\":0}";
    // Nested keys count too, and are not duplicates of the outer ones.
    const bool fits = count * 2 + 1 <= static_cast<int>(kFieldCountMax);
    CHECK(NormaliseDocument(text + "}}").ok() == fits);
    if (!fits) continue;
    for (const int twice : {0, count / 2, count - 1}) {
      CAPTURE(twice);
      const auto result = NormaliseDocument(text + ",\"k" + std::to_string(twice) + "\":1}}");
      REQUIRE_FALSE(result.ok());
      CHECK(result.status().message().find("\"k" + std::to_string(twice) + "\" twice") != std::string::npos);
    }
  }
}

TEST_CASE("limits: depth 64 passes, 65 is refused") {
  CHECK(NormaliseValue(Nested(64, "[", "", "]")).ok());
  CHECK(NormaliseDocument(Nested(64, "{\"a\":", "1", "}")).ok());
  CHECK(NormaliseDocument("{\"a\":" + Nested(63, "[", "", "]") + "}").ok());
  for (const std::string& text : {Nested(65, "[", "", "]"), Nested(65, "{\"a\":", "1", "}"), std::string(100'000, '['),
                                  "{\"a\":" + Nested(64, "[", "", "]") + "}"}) {
    const auto result = NormaliseValue(text);
    REQUIRE_FALSE(result.ok());
    CHECK(result.status().code() == ErrorCode::kLimit);
    CHECK(result.status().message().find("nested deeper than 64") != std::string::npos);
  }
}

TEST_CASE("limits: 1 MiB without white space passes, one byte more is refused") {
  const auto document = [](std::size_t size_bytes) { return "{\"a\":\"" + std::string(size_bytes - 8, 'x') + "\"}"; };
  CHECK(NormaliseDocument(document(kDocumentBytesMax) + std::string(1000, ' ')).ok());
  const auto result = NormaliseDocument(document(kDocumentBytesMax + 1));
  REQUIRE_FALSE(result.ok());
  CHECK(result.status().code() == ErrorCode::kLimit);
  CHECK(result.status().message() == "JSON: value has 1048577 bytes without white space, limit is 1048576");
  const auto spaces = NormaliseDocument("{}" + std::string(16 * kDocumentBytesMax, ' '));
  REQUIRE_FALSE(spaces.ok());
  CHECK(spaces.status().code() == ErrorCode::kLimit);
}

TEST_CASE("limits: 4096 fields pass wherever they are, 4097 are refused") {
  const auto document = [](int count) {
    std::string text = "{\"list\":[";
    for (int i = 1; i < count; ++i) text += i > 1 ? ",{\"a\":0}" : "{\"a\":0}";
    return text + "]}";
  };
  CHECK(NormaliseDocument(document(4096)).ok());
  const auto result = NormaliseDocument(document(4097));
  REQUIRE_FALSE(result.ok());
  CHECK(result.status().code() == ErrorCode::kLimit);
  CHECK(result.status().message().find("more than 4096 fields") != std::string::npos);
}

TEST_CASE("limits: a path of 512 bytes passes, 513 are refused, inside arrays there is none") {
  const std::string key(254, 'k');
  const auto document = [&key](const std::string& last) {
    return "{\"" + key + "\":{\"" + key + "\":{\"" + last + "\":1}}}";
  };
  CHECK(NormaliseDocument(document("ab")).ok());
  CHECK(NormaliseDocument(document("\\u0000\\n")).ok());  // Two characters.
  CHECK(NormaliseDocument("{\"a\":[" + document("abcdefgh") + "]}").ok());
  const auto result = NormaliseDocument(document("abc"));
  REQUIRE_FALSE(result.ok());
  CHECK(result.status().code() == ErrorCode::kLimit);
  CHECK(result.status().message().find("path has 513 bytes, limit is 512") != std::string::npos);
  CHECK_FALSE(NormaliseDocument("{\"" + std::string(513, 'k') + "\":1}").ok());
}

TEST_CASE("document id: 1 to 255 bytes of UTF-8 without control characters") {
  for (const std::string& id : {"a"s, "note 1/2"s, "\xC3\xA9\xF0\x9F\x98\x80"s, std::string(255, 'x'), "\xC2\xA0"s}) {
    CHECK(ValidateDocumentId(id).ok());
  }
  CHECK(ValidateDocumentId(std::string(256, 'x')).code() == ErrorCode::kLimit);
  for (const std::string& id : {""s, "a\nb"s, "a\0b"s, "\x7F"s, "\xC2\x85"s, "\x80"s, "\xC3"s, "a\xED\xA0\x80"s}) {
    CAPTURE(id);
    CHECK(ValidateDocumentId(id).code() == ErrorCode::kInvalidArgument);
  }
}

// Random JSON text, mostly valid, with every kind of token.
class TextMaker {
 public:
  explicit TextMaker(std::uint64_t seed) : random_(seed) {}
  std::size_t Below(std::size_t count) { return random_.Next64() % count; }
  std::string Value(int depth) {
    switch (Below(depth > 4 ? 6 : 10)) {
      case 0: return Pick({"null", "true", "false"});
      case 1:
      case 2: return Pick({"0", "-0", "1", "12.50", "-3e5", "1E-2", "9007199254740993", "0.1"});
      case 3:
      case 4:
      case 5: return String();
      case 6:
      case 7: return Container('[', ']', depth);
      default: return Container('{', '}', depth);
    }
  }
  std::string Damaged(std::string text) {
    for (std::size_t i = Below(3) + 1; i > 0 && !text.empty(); --i) {
      const std::size_t at = Below(text.size());
      static const std::string kBytes = "{}[]\",:\\ut0123456789.eE+-ndr/ \n\t\0\x1F\x80\xBF\xC3\xE2\xED\xF0\xFF"s;
      switch (Below(4)) {
        case 0: text[at] = kBytes[Below(kBytes.size())]; break;
        case 1: text.insert(at, 1, kBytes[Below(kBytes.size())]); break;
        case 2: text.erase(at, 1 + Below(3)); break;
        default: text[at] = static_cast<char>(text[at] ^ (1 << Below(8))); break;
      }
    }
    return text;
  }

 private:
  std::string Pick(std::initializer_list<const char*> choices) { return *(choices.begin() + Below(choices.size())); }
  std::string Space() { return Below(8) == 0 ? Pick({" ", "\n", "\t\r ", "  "}) : ""; }
  std::string String() {
    std::string text = "\"";
    for (std::size_t i = Below(12); i > 0; --i) {
      text += Pick({"a",       "b",        "xyz",          "0123456789abcdef", "\\n",     "\\\"",
                    "\\\\",    "\\/",      "\\u0041",      "\\u001f",          "\\u0000", "\\ud83d\\ude00",
                    "\\u20ac", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", " ",       "{",
                    "]",       ","});
    }
    return text + "\"";
  }
  std::string Container(char open, char close, int depth) {
    std::string text = open + Space();
    const std::size_t count = Below(5);
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) text += "," + Space();
      if (open == '{') text += String() + Space() + ":" + Space();
      text += Value(depth + 1) + Space();
    }
    return text + close;
  }

  SeededRandom random_;
};

// Whether an object anywhere has a key twice, which only we refuse.
bool HasDuplicateKey(simdjson::dom::element element) {
  simdjson::dom::array array;
  if (element.get_array().get(array) == simdjson::SUCCESS) {
    for (const auto child : array) {
      if (HasDuplicateKey(child)) return true;
    }
  }
  simdjson::dom::object object;
  if (element.get_object().get(object) == simdjson::SUCCESS) {
    std::map<std::string, int> counts;
    for (const auto field : object) {
      if (++counts[std::string(field.key)] > 1 || HasDuplicateKey(field.value)) return true;
    }
  }
  return false;
}

TEST_CASE("normalise: agrees with simdjson's DOM on random and damaged texts") {
  simdjson::dom::parser parser;
  simdjson::dom::parser second_parser;
  std::size_t accepted_count = 0;
  constexpr std::uint64_t kTexts = 40'000;
  for (std::uint64_t seed = 1; seed <= kTexts; ++seed) {
    TextMaker maker(seed);
    std::string text = maker.Value(0);
    if (seed % 4 != 0) text = maker.Damaged(text);
    const auto ours = NormaliseValue(text);
    simdjson::dom::element element;
    const auto error = parser.parse(text).get(element);
    CAPTURE(seed);
    CAPTURE(text);
    if (ours.ok()) {
      // Numbers beyond 64 bits are theirs to refuse.
      if (error == simdjson::NUMBER_ERROR) continue;
      REQUIRE_MESSAGE(error == simdjson::SUCCESS, simdjson::error_message(error));
      simdjson::dom::element normal_element;
      REQUIRE(second_parser.parse(*ours).get(normal_element) == simdjson::SUCCESS);
      CHECK(simdjson::minify(element) == simdjson::minify(normal_element));
      CHECK(NormaliseValue(*ours).value() == *ours);
      ++accepted_count;
    } else if (error == simdjson::SUCCESS) {
      CHECK_MESSAGE(HasDuplicateKey(element), ours.status().message());
    }
  }
  CHECK(accepted_count > kTexts / 4);
  CHECK(accepted_count < kTexts * 3 / 4);
}

TEST_CASE("merge patch: the examples of RFC 7396 on objects, and order") {
  const struct {
    const char* document;
    const char* patch;
    const char* expected;
  } cases[] = {
      {R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
      {R"({"a":"b"})", R"({"a":null})", "{}"},
      {R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
      {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
      {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
      {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
      {R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
      {"{}", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"},
      {"", R"({"a":{"b":null,"c":1},"d":null})", R"({"a":{"c":1}})"},
      {R"({"a":1})", R"({"a":{"b":null}})", R"({"a":{}})"},
      {R"({"x":1,"y":2,"z":3})", R"({"z":4,"w":5,"y":null})", R"({"x":1,"z":4,"w":5})"},
      {R"({"\n":1})", R"({"\n":2})", R"({"\n":2})"},
      {"{}", "{}", "{}"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.document);
    CAPTURE(c.patch);
    const auto merged = MergePatch(c.document, c.patch);
    REQUIRE_MESSAGE(merged.ok(), merged.status().ToString());
    CHECK(*merged == c.expected);
  }
  CHECK(MergePatch("{}", "[]").status().code() == ErrorCode::kInvalidArgument);
  CHECK(MergePatch("{}", "").status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("merge patch: a result beyond the limits is refused") {
  const std::string half = "\"" + std::string(600'000, 'x') + "\"";
  const auto merged = MergePatch("{\"a\":" + half + "}", "{\"b\":" + half + "}");
  REQUIRE_FALSE(merged.ok());
  CHECK(merged.status().code() == ErrorCode::kLimit);
}

TEST_CASE("merge patch: objects of many keys") {
  std::string document = "{";
  std::string patch = "{";
  std::string expected = "{";
  for (int i = 0; i < 100; ++i) {
    const std::string key = "\"k" + std::to_string(i) + "\":";
    document += (i > 0 ? "," : "") + key + "1";
    patch += (i > 0 ? "," : "") + ("\"k" + std::to_string(99 - i) + "\":") + (i % 2 == 0 ? "null" : "2");
    if (i % 2 == 0) expected += (expected.size() > 1 ? "," : "") + key + "2";
  }
  CHECK(MergePatch(document + "}", patch + "}").value() == expected + "}");
}

TEST_CASE("paths: dotted text and back") {
  CHECK(ParsePath("site.name").value() == "site\xFFname");
  CHECK(ParsePath("a\\.b.c\\\\d").value() ==
        "a.b\xFF"
        "c\\d");
  for (const std::string& path : {"a"s,
                                  "a\xFF"
                                  "b"s,
                                  "x.y\xFFz\\"s}) {
    CHECK(ParsePath(PathForPeople(path)).value() == path);
  }
  for (const std::string& dotted :
       {""s, "."s, "a."s, ".a"s, "a..b"s, "a\\"s, "a\\n"s, "a\xFF"s, std::string(513, 'a')}) {
    CAPTURE(dotted);
    CHECK(ParsePath(dotted).status().code() == ErrorCode::kInvalidArgument);
  }
  CHECK(ParsePath(std::string(512, 'a')).ok());
  CHECK(IsAncestorPath("a",
                       "a\xFF"
                       "b"));
  CHECK_FALSE(IsAncestorPath("a", "a"));
  CHECK_FALSE(IsAncestorPath("a", "ab"));
}

TEST_CASE("flatten: leaves in document order with unescaped paths") {
  const std::string text = R"({"a":{"b":[1,{"x":2}],"c\n":{}},"d":"}\"{","":null})";
  const auto leaves = FlattenDocument(text);
  REQUIRE(leaves.size() == 4);
  CHECK(leaves[0].path ==
        "a\xFF"
        "b");
  CHECK(leaves[0].value == R"([1,{"x":2}])");
  CHECK(leaves[1].path ==
        "a\xFF"
        "c\n");
  CHECK(leaves[1].value == "{}");
  CHECK(leaves[2].value == R"("}\"{")");
  CHECK(leaves[3].path.empty());
  CHECK(FlattenDocument("{}").empty());
}

TEST_CASE("find value: any path, escaped keys too, without a match nothing") {
  const std::string text = R"({"ab":1,"a":{"b":{"c":"x"},"q\"\u0001é":[1]},"":{"":2}})";
  CHECK(FindValue(text, "ab") == "1");
  CHECK(FindValue(text,
                  "a\xFF"
                  "b") == R"({"c":"x"})");
  CHECK(FindValue(text,
                  "a\xFF"
                  "b\xFF"
                  "c") == "\"x\"");
  CHECK(FindValue(text, "a\xFFq\"\x01é") == "[1]");
  CHECK(FindValue(text, "\xFF") == "2");
  CHECK(FindValue(text, "") == R"({"":2})");
  CHECK(FindValue(text, "x").empty());
  CHECK(FindValue(text, "ab\xFFx").empty());
  CHECK(FindValue(text, "a\xFFq").empty());
  CHECK(FindValue("", "a").empty());
}

TEST_CASE("strings: escape and back") {
  const std::string all = [] {
    std::string text;
    for (int c = 0; c < 128; ++c) text += static_cast<char>(c);
    return text + "\xC3\xA9";
  }();
  std::string token;
  AppendJsonString(token, all);
  CHECK(NormaliseValue(token).value() == token);
  CHECK(UnescapeString(token).value() == all);
  CHECK(UnescapeString("1").status().code() == ErrorCode::kInvalidArgument);
  CHECK(UnescapeString("\"").status().code() == ErrorCode::kInvalidArgument);
  CHECK(UnescapeString("").status().code() == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace foreshore
