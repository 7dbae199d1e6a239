#include "engine/document/document_text.h"

#include <doctest/doctest.h>

#include "engine/document/json.h"

using namespace foreshore;

namespace {

std::string TextAt(const std::string& json, const std::string& dotted) {
  const auto body = NormaliseDocument(json);
  REQUIRE(body.ok());
  const auto path = ParsePath(dotted);
  REQUIRE(path.ok());
  return TextExtractor({*path}).Extract(*body).at(0);
}

}  // namespace

TEST_CASE("document text: strings are unescaped, numbers stand, other scalars are no text") {
  CHECK(TextAt(R"({"a":"x \"y\" \u00e9\n"})", "a") == "x \"y\" \xc3\xa9\n");
  CHECK(TextAt(R"({"a":12.50})", "a") == "12.50");
  CHECK(TextAt(R"({"a":true,"b":null})", "a").empty());
  CHECK(TextAt(R"({"a":true,"b":null})", "b").empty());
  CHECK(TextAt(R"({"a":"x"})", "b").empty());
  CHECK(TextAt(R"({})", "b").empty());
}

TEST_CASE("document text: nested fields, arrays on the way and at the end, objects at the end") {
  const std::string json =
      R"({"site":{"name":"North","no":7},"tags":["a",["b",1],{"c":"d"},true],"notes":[{"text":"x"},{"other":1},{"text":["y","z"]},5],"a.b":"dot","":"none"})";
  CHECK(TextAt(json, "site.name") == "North");
  CHECK(TextAt(json, "site") == "North\n7");
  CHECK(TextAt(json, "site.name.deeper").empty());
  CHECK(TextAt(json, "tags") == "a\nb\n1\nd");
  CHECK(TextAt(json, "notes.text") == "x\ny\nz");
  CHECK(TextAt(json, "a\\.b") == "dot");
}

TEST_CASE("document text: a text per path, in their order") {
  const TextExtractor extractor({"b", "a", "c"});
  CHECK(extractor.Extract(R"({"a":"1","b":"2"})") == std::vector<std::string>{"2", "1", ""});
}
