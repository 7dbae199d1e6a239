// The command line's parts that need no database: lines of import and export, CSV, statements, cells.
#include <doctest/doctest.h>

#include <limits>
#include <sstream>

#include "bindings/cli/csv_reader.h"
#include "bindings/cli/json_member.h"
#include "bindings/cli/line_editor.h"
#include "bindings/cli/output.h"
#include "bindings/cli/sql_text.h"
#include "bindings/json/json_writer.h"

namespace foreshore::cli {
namespace {

void CheckRoundTrip(const std::string& id, const std::string& body) {
  CAPTURE(body);
  const auto line = FormatExportLine(id, body);
  REQUIRE(line.ok());
  const auto read = ParseImportLine(*line, "id");
  REQUIRE(read.ok());
  CHECK(read->id == id);
  CHECK(read->body == body);
}

TEST_CASE("export: a line reads back to the same id and body") {
  CheckRoundTrip("n1", R"({"text":"pump","site":{"name":"A"},"tags":["a,b","}"]})");
  CheckRoundTrip("quote \" and line\nbreak", R"({"a":1})");
  CheckRoundTrip("empty", "{}");
}

TEST_CASE("export: a body with an id of its own is wrapped, so that neither id is lost") {
  CheckRoundTrip("n1", R"({"id":"other","a":1})");
  CheckRoundTrip("n1", R"({"id":"n1"})");
  CheckRoundTrip("n1", R"({"$body":{"a":1}})");
  CHECK(*FormatExportLine("n1", R"({"id":"x"})") == R"({"id":"n1","$body":{"id":"x"}})");
}

TEST_CASE("import: the id field is taken from the line") {
  auto document = ParseImportLine(R"( { "a" : 1 , "id" : "caf\u00e9" } )", "id");
  REQUIRE(document.ok());
  CHECK(document->id == "café");
  CHECK(document->body == R"({"a":1})");
  document = ParseImportLine(R"({"serial":42,"a":[1, 2]})", "serial");
  REQUIRE(document.ok());
  CHECK(document->id == "42");
  CHECK(document->body == R"({"serial":42,"a":[1, 2]})");
  document = ParseImportLine(R"({"a":1})", "id");
  REQUIRE(document.ok());
  CHECK_FALSE(document->id.has_value());
}

TEST_CASE("import: a line that is no JSON object is refused") {
  for (const char* line : {"",
                           "[1]",
                           "{",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{\"a\":1} x",
                           "{\"a\" 1}",
                           "{a:1}",
                           "{\"a\":\"unended}",
                           "{\"a\":1 \"b\":2",
                           "{\"id\":\"a\" \"x\":1}",
                           "{\"id\":\"a\"",
                           "{\"id\":\"a\\n\" \"x\"}",
                           "{\"id\":\"\\q\"}",
                           "{\"id\":[1]}",
                           "{\"id\":true}",
                           "{\"id\":1.5}",
                           "{\"id\":\"a\",\"id\":\"b\"}",
                           "{\"a\":1]"}) {
    CAPTURE(line);
    const auto document = ParseImportLine(line, "id");
    CHECK_FALSE(document.ok());
    CHECK(document.status().code() == ErrorCode::kInvalidArgument);
  }
}

TEST_CASE("csv: quotes, commas and line breaks are read, and lines are counted") {
  std::istringstream input("id,text\r\n1,\"a, \"\"b\"\"\nc\"\n2,\n");
  CsvReader reader(input);
  std::vector<CsvField> fields;
  REQUIRE(*reader.Next(fields));
  REQUIRE(*reader.Next(fields));
  CHECK(reader.line_number() == 2);
  CHECK(fields[1].text == "a, \"b\"\nc");
  CHECK(fields[1].is_quoted);
  REQUIRE(*reader.Next(fields));
  CHECK(reader.line_number() == 4);
  CHECK(fields.size() == 2);
  CHECK(fields[1].text.empty());
  CHECK_FALSE(*reader.Next(fields));
}

TEST_CASE("csv: a quote without an end and text after a quote are refused") {
  std::vector<CsvField> fields;
  std::istringstream unended("\"abc");
  CHECK_FALSE(CsvReader(unended).Next(fields).ok());
  std::istringstream after("\"abc\"d,e\n");
  CHECK_FALSE(CsvReader(after).Next(fields).ok());
}

TEST_CASE("csv: a record larger than any document is refused before it is read whole") {
  std::istringstream input(std::string(CsvReader::kRecordBytesMax + 10, 'x'));
  std::vector<CsvField> fields;
  CHECK(CsvReader(input).Next(fields).status().code() == ErrorCode::kLimit);
}

TEST_CASE("csv: unquoted numbers are numbers, quoted ones text, empty ones absent") {
  const std::vector<std::string> names = {"a", "b", "c", "d", "e", "f"};
  const std::vector<CsvField> fields = {{"1.5e3", false}, {"7", true},    {"", false},
                                        {"", true},       {"007", false}, {"-0", false}};
  CHECK(CsvObject(names, fields) == R"({"a":1.5e3,"b":"7","d":"","e":"007","f":-0})");
}

TEST_CASE("sql: semicolons inside quotes and comments do not end a statement") {
  auto split = SplitSql("SELECT ';' /* ; */ ; -- ; \n SELECT \"a;\"\"b\" FROM [x;y];  ");
  REQUIRE(split.statements.size() == 2);
  CHECK(split.statements[0] == "SELECT ';' /* ; */ ");
  CHECK(IsBlankSql(split.rest));
  split = SplitSql("SELECT 'it''s; on");
  CHECK(split.statements.empty());
  CHECK(split.rest == "SELECT 'it''s; on");
  CHECK(SplitSql(";;;").statements.empty());
  CHECK(IsBlankSql(" -- nothing\n /* here */ "));
  CHECK_FALSE(IsBlankSql("x"));
}

TEST_CASE("sql: the place of an error is shown under its line") {
  CHECK(ErrorPlace("SELECT 'é' x\nFROM FROM y", "near \"FROM\": syntax error (at byte 19)") ==
        "  FROM FROM y\n       ^\n");
  CHECK(ErrorPlace("SELEC 1", "syntax error (at byte 0)") == "  SELEC 1\n  ^\n");
  CHECK(ErrorPlace("'é' x", "syntax error (at byte 5)") == "  'é' x\n      ^\n");
  CHECK(ErrorPlace("SELECT 1", "syntax error (at byte 9)").empty());
  CHECK(ErrorPlace("SELECT 1", "syntax error").empty());
  CHECK(ErrorPlace("SELECT 1", "syntax error (at byte x)").empty());
}

TEST_CASE("table: cells are cut by columns of the terminal, not by bytes") {
  CHECK(DisplayWidth("naïve") == 5);
  CHECK(DisplayWidth("日本") == 4);
  CHECK(DisplayWidth("e\xCC\x81") == 1);
  CHECK(FitCell("abcdef", 6) == "abcdef");
  CHECK(FitCell("abcdefg", 6) == "abcde…");
  CHECK(FitCell("日本語", 5) == "日本…");
  CHECK(FitCell("日本語", 4) == "日…");
  CHECK(FitCell("a\nb\tc", 9) == "a b c");
  CHECK(FitCell("\xff\xfe", 9) == "  ");
}

TEST_CASE("json: text is valid whatever the bytes were") {
  CHECK(JsonString("a\"b\\c\n\x01") == "\"a\\\"b\\\\c\\n\\u0001\"");
  CHECK(JsonString("\xff") == "\"\xEF\xBF\xBD\"");
  CHECK(JsonString("\xED\xA0\x80") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");  // A surrogate is no character.
  CHECK(JsonString("\xF0\x9F\x8C\x8A") == "\"\xF0\x9F\x8C\x8A\"");
  CHECK(JsonString("\xE2\x82") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST_CASE("json: values keep their kind") {
  CHECK(JsonValue(SqlValue{}) == "null");
  CHECK(JsonValue(std::int64_t{9007199254740993}) == "9007199254740993");
  CHECK(JsonValue(1.0) == "1.0");
  CHECK(JsonValue(0.1) == "0.1");
  CHECK(JsonValue(1e300) == "1e+300");
  CHECK(JsonValue(std::numeric_limits<double>::infinity()) == "null");
  CHECK(JsonValue(SqlBlob{"f"}) == "\"Zg==\"");
  CHECK(JsonValue(SqlBlob{"fo"}) == "\"Zm8=\"");
  CHECK(JsonValue(SqlBlob{"foo"}) == "\"Zm9v\"");
}

TEST_CASE("completion: the common beginning ignores case") {
  CHECK(CommonPrefix({"select", "SELECTED"}) == "select");
  CHECK(CommonPrefix({"site", "size"}) == "si");
  CHECK(CommonPrefix({"a", "b"}).empty());
  CHECK(CommonPrefix({}).empty());
}

}  // namespace
}  // namespace foreshore::cli
