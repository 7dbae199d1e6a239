#include "engine/query/row_fields.h"

#include <doctest/doctest.h>

using foreshore::RowFields;

TEST_CASE("row fields: each is found in whatever order it is asked for") {
  const std::vector<std::string> keys{"\"a\"", "\"b\"", "\"c\""};
  RowFields fields(keys);
  fields.SetBody(R"({"x":[1,{"a":2}],"c":"}\",","a":{"b":7},"b":null})");
  CHECK(fields.Find(1) == "null");
  CHECK(fields.Find(0) == R"({"b":7})");
  CHECK(fields.Find(2) == R"("}\",")");
  CHECK(fields.Find(1) == "null");
}

TEST_CASE("row fields: nothing of the row before is left") {
  const std::vector<std::string> keys{"\"a\"", "\"b\""};
  RowFields fields(keys);
  fields.SetBody(R"({"a":1,"b":2})");
  CHECK(fields.Find(1) == "2");
  fields.SetBody(R"({"b":3})");
  CHECK(fields.Find(0).empty());
  CHECK(fields.Find(1) == "3");
  fields.SetBody(R"({})");
  CHECK(fields.Find(0).empty());
  CHECK(fields.Find(1).empty());
  fields.SetBody("");
  CHECK(fields.Find(0).empty());
}

TEST_CASE("row fields: rows with other keys at the same place are told apart") {
  const std::vector<std::string> keys{"\"a\"", "\"b\""};
  RowFields fields(keys);
  for (int round = 0; round < 3; ++round) {
    fields.SetBody(R"({"a":1,"b":2})");
    CHECK(fields.Find(0) == "1");
    CHECK(fields.Find(1) == "2");
    fields.SetBody(R"({"b":4,"z":0,"a":3})");
    CHECK(fields.Find(0) == "3");
    CHECK(fields.Find(1) == "4");
  }
}

TEST_CASE("row fields: cut or broken text is walked without leaving it") {
  const std::vector<std::string> keys{"\"a\"", "\"b\""};
  const std::string whole = R"({"z":"\\","b":[1,{"q":"]"}],"a":"x"})";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string cut = whole.substr(0, size);  // Its own allocation, so that a sanitizer sees its end.
    RowFields fields(keys);
    fields.SetBody(cut);
    static_cast<void>(fields.Find(0));
    static_cast<void>(fields.Find(1));
  }
}

TEST_CASE("row fields: those far behind in a document are found in every row") {
  const std::vector<std::string> keys{"\"k3\"", "\"k299\"", "\"k999\""};
  RowFields fields(keys);
  for (int round = 0; round < 3; ++round) {
    std::string body = "{";
    for (int i = 0; i < 1000; ++i) {
      if (i > 0) body += ',';
      body += "\"k" + std::to_string(i) + "\":" + std::to_string(i + round);
    }
    body += '}';
    fields.SetBody(body);
    CHECK(fields.Find(2) == std::to_string(999 + round));
    CHECK(fields.Find(0) == std::to_string(3 + round));
    CHECK(fields.Find(1) == std::to_string(299 + round));
  }
}
