// The command line's parts that need no database: lines of import and export, CSV, statements, cells.
#include <doctest/doctest.h>

#include <limits>
#include <sstream>

#include "bindings/cli/completion.h"
#include "bindings/cli/csv_reader.h"
#include "bindings/cli/csv_types.h"
#include "bindings/cli/document_source.h"
#include "bindings/cli/error_hint.h"
#include "bindings/cli/json_grammar.h"
#include "bindings/cli/json_member.h"
#include "bindings/cli/line_editor.h"
#include "bindings/cli/output.h"
#include "bindings/cli/plan_tree.h"
#include "bindings/cli/progress.h"
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

TEST_CASE("csv: lines end in LF, CRLF or CR, and a line end in quotes is text") {
  std::istringstream input("a,b\r\n1,2\r3,\"4\r\n5\"\n6,7");
  CsvReader reader(input);
  std::vector<std::vector<std::string>> records;
  std::vector<CsvField> fields;
  while (*reader.Next(fields)) {
    std::vector<std::string>& record = records.emplace_back();
    for (const CsvField& field : fields) record.push_back(field.text);
  }
  CHECK(records == std::vector<std::vector<std::string>>{{"a", "b"}, {"1", "2"}, {"3", "4\r\n5"}, {"6", "7"}});
  CHECK(reader.line_number() == 5);
}

TEST_CASE("csv: after an error the next record is the one behind the line") {
  std::istringstream input("\"a\"x,1\nb,2\n");
  CsvReader reader(input);
  std::vector<CsvField> fields;
  CHECK_FALSE(reader.Next(fields).ok());
  REQUIRE(*reader.Next(fields));
  CHECK(fields[0].text == "b");
  CHECK(reader.line_number() == 2);
}

std::vector<CsvColumn> Columns(const std::vector<std::string>& names) {
  std::vector<CsvColumn> columns;
  for (const std::string& name : names) columns.push_back({.name = name});
  return columns;
}

TEST_CASE("csv: unquoted cells are what JSON would take them for, quoted ones text, empty ones absent") {
  const std::vector<CsvField> fields = {{"1.5e3", false}, {"7", true},    {"", false},     {"", true},
                                        {"007", false},   {"-0", false},  {"true", false}, {"true", true},
                                        {"null", false},  {"[1,", false}, {"[1, 2]", true}};
  CHECK(*CsvObject(Columns({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"}), fields) ==
        R"({"a":1.5e3,"b":"7","d":"","e":"007","f":-0,"g":true,"h":"true","i":null,"j":"[1,","k":[1, 2]})");
}

TEST_CASE("json: the grammar takes values and nothing else") {
  for (const char* text : {"1", "-0", "1.5e+3", "true", "null", " [1, {\"a\" : [] }] ", "{}", R"("\u00e9\n")",
                           "[123456789012345678901234567890]"}) {
    CAPTURE(text);
    CHECK(IsJsonValue(text));
  }
  for (const char* text : {"", "01", "1.", "+1", ".5", "1e", "tru", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":1,}", "{a:1}",
                           "[1]]", "\"x", R"("\q")", R"("\u00g0")", "\"\n\"", "NaN", "[1"}) {
    CAPTURE(text);
    CHECK_FALSE(IsJsonValue(text));
  }
  CHECK_FALSE(IsJsonValue(std::string(100'000, '[')));
  CHECK(IsJsonNumber("12"));
  CHECK_FALSE(IsJsonNumber(" 12"));
  CHECK_FALSE(IsJsonNumber("12 "));
  CHECK_FALSE(IsJsonNumber("12x"));
}

TEST_CASE("csv: a value that is written as a cell reads back to itself") {
  const std::vector<std::string> values = {
      "1", "-1.50", "1e3", "true", "null", "[1,\"a\"]", "{\"a\":{\"b\":null}}", "[]", R"("")", R"("text")", R"("1")",
      R"("007")", R"("true")", R"("null")", R"(" edge ")", R"("a,b")", R"("line\nbreak")", R"("say \"x\"")",
      // Texts that look like JSON.
      R"("[1]")", R"("{\"a\":1}")", R"("\"quoted\"")", R"("\"[1]\"")", R"("\"\\\"[1]\\\"\"")", R"("[1")"};
  for (const char delimiter : {',', ';', '\t'}) {
    for (const std::string& value : values) {
      CAPTURE(value);
      const auto cell = CsvValueCell(value, true, delimiter);
      REQUIRE(cell.ok());
      std::istringstream input(*cell + "\n");
      CsvReader reader(input, delimiter);
      std::vector<CsvField> fields;
      REQUIRE(*reader.Next(fields));
      REQUIRE(fields.size() == 1);
      CHECK(*CsvObject(Columns({"a"}), fields) == "{\"a\":" + value + "}");
    }
  }
}

TEST_CASE("csv: named types bind every cell of a column") {
  auto columns = Columns({"code", "size", "on", "tags"});
  REQUIRE(ApplyCsvTypes("code=text,size=number,on=boolean,tags=json", columns).ok());
  const auto object = CsvObject(columns, {{"12", false}, {"+007.50", true}, {"Yes", false}, {"\"x\"", true}}, "NA");
  REQUIRE(object.ok());
  CHECK(*object == R"({"code":"12","size":7.50,"on":true,"tags":"x"})");
  CHECK(*CsvObject(columns, {{"", true}, {"", true}, {"NA", false}, {"", false}}, "NA") == R"({"code":""})");
  const auto wrong = CsvObject(columns, {{"12", false}, {"many", false}, {"1", false}, {"1", false}});
  CHECK(wrong.status().message() == "csv: column \"size\": found \"many\", expected a number");
  CHECK_FALSE(CsvObject(columns, {{"12", false}, {"1", false}, {"maybe", false}, {"1", false}}).ok());
  CHECK_FALSE(CsvObject(columns, {{"12", false}, {"1", false}, {"1", false}, {"{", false}}).ok());
  CHECK(ApplyCsvTypes("none=text", columns).code() == ErrorCode::kNotFound);
  CHECK_FALSE(ApplyCsvTypes("size=integer", columns).ok());
  CHECK_FALSE(ApplyCsvTypes("size=text,code", columns).ok());
}

// Bodies, or "!" and the message of an error.
std::vector<std::string> ReadAll(const std::string& text, const SourceOptions& options) {
  std::istringstream input(text);
  const auto source = MakeDocumentSource(input, options);
  REQUIRE(source.ok());
  std::vector<std::string> found;
  for (int count = 0; count < 100; ++count) {
    ImportDocument document;
    const auto has_document = (*source)->Next(document);
    if (has_document.ok() && !*has_document) return found;
    const std::string place = std::to_string((*source)->line_number()) + " ";
    if (has_document.ok()) {
      found.push_back(place + document.id.value_or("-") + document.body);
    } else {
      found.push_back("!" + place + has_document.status().message());
      if (!(*source)->can_continue()) return found;
    }
  }
  FAIL("the source does not end");
  return found;
}

TEST_CASE("import: a column that shows text is text throughout, so that codes stay alike") {
  const auto found = ReadAll("id,code,n\na,12,1\nb,x7,2\nc,007,3.5\n", {.format = "csv"});
  CHECK(found == std::vector<std::string>{"2 a{\"code\":\"12\",\"n\":1}", "3 b{\"code\":\"x7\",\"n\":2}",
                                          "4 c{\"code\":\"007\",\"n\":3.5}"});
}

TEST_CASE("import: ragged and broken csv records are named, and the ones behind them are read") {
  const auto found = ReadAll("id;a\n1;2\n3\n4;5;6\n\"7\"x;8\n9;10\n", {.format = "csv", .delimiter = ';'});
  REQUIRE(found.size() == 5);
  CHECK(found[0] == "2 1{\"a\":2}");
  CHECK(found[1] == "!3 csv: record has 1 fields, the header has 2");
  CHECK(found[2] == "!4 csv: record has 3 fields, the header has 2");
  CHECK(found[3].starts_with("!5 csv: found \"x\" after a closing quote"));
  CHECK(found[4] == "6 9{\"a\":10}");
}

TEST_CASE("import: a csv file without a header takes the names it is given") {
  CHECK(ReadAll("1,2\n", {.format = "csv", .columns = "a,id"}) == std::vector<std::string>{"1 2{\"a\":1}"});
  CHECK(ReadAll("a,a\n", {.format = "csv"})[0].starts_with("!1 csv: header name \"a\""));
  CHECK(ReadAll("", {.format = "csv"})[0].starts_with("!1 csv: found an empty file"));
}

TEST_CASE("import: json is an array of objects or objects one after the other") {
  const std::vector<std::string> both = {"2 a{\"n\":[{}]}", "4 b{\"t\":\"}]\\\"\"}"};
  CHECK(ReadAll("[\n{\"id\":\"a\",\"n\":[{}]}\n,\n{\"id\":\"b\",\"t\":\"}]\\\"\"}\n]\n", {.format = "json"}) == both);
  CHECK(ReadAll("\n{\"id\":\"a\",\"n\":[{}]}\n\n{\"id\":\"b\",\"t\":\"}]\\\"\"}", {.format = "json"}) == both);
  CHECK(ReadAll(" [ ] ", {.format = "json"}).empty());
  CHECK(ReadAll("", {.format = "json"}).empty());
}

TEST_CASE("import: json that is something else is refused where it is") {
  CHECK(ReadAll("[1]", {.format = "json"}) == std::vector<std::string>{"!1 json: found \"1\", expected an object"});
  CHECK(ReadAll("[{}\n{}]", {.format = "json"})[1] == "!2 json: found \"{\", expected a comma or closing bracket");
  CHECK(ReadAll("[{}", {.format = "json"})[1] == "!1 json: found the end, expected a comma or closing bracket");
  CHECK(ReadAll("[{}]x", {.format = "json"})[1] == "!1 json: found \"x\", expected the end after the array");
  CHECK(ReadAll("[{\"a\":\"", {.format = "json"})[0] == "!1 json: found the end, expected the object's closing brace");
  // An object whose braces are right is passed over.
  const auto found = ReadAll("[{\"a\" 1},{\"a\":2}]", {.format = "json"});
  REQUIRE(found.size() == 2);
  CHECK(found[0].starts_with("!1 "));
  CHECK(found[1] == "1 -{\"a\":2}");
}

TEST_CASE("transfer: the format and delimiter follow the file's suffix") {
  CHECK(TransferFormat("", "a.csv") == "csv");
  CHECK(TransferFormat("", "a.tsv.gz") == "csv");
  CHECK(TransferFormat("", "a.json.zst") == "json");
  CHECK(TransferFormat("", "-") == "jsonl");
  CHECK(TransferFormat("json", "a.csv") == "json");
  CHECK(*TransferDelimiter("", "a.tsv.gz") == '\t');
  CHECK(*TransferDelimiter(";", "a.tsv") == ';');
  CHECK(*TransferDelimiter("tab", "a.csv") == '\t');
  CHECK(*TransferDelimiter("", "a") == ',');
  CHECK_FALSE(TransferDelimiter("ab", "a").ok());
  CHECK_FALSE(TransferDelimiter("\"", "a").ok());
}

TEST_CASE("progress: a line has the rate and the time that is left, and fits the terminal") {
  ProgressState state;
  state.what = "importing";
  state.done = 30 << 20;
  state.total = 40 << 20;
  state.is_bytes = true;
  state.document_count = 1'234'567;
  state.seconds = 10;
  CHECK(ProgressLine(state) ==
        "importing [######################........] 75% 1,234,567 documents, 123,456/s, 3.0 MiB/s, 0:04 left");
  state.done_per_second = 1 << 20;
  CHECK(ProgressLine(state).ends_with("1.0 MiB/s, 0:10 left"));
  for (std::size_t width = 20; width < 120; ++width) {
    state.width = width;
    CHECK(DisplayWidth(ProgressLine(state)) < width);
  }
  state.width = 0;
  state.total = 0;
  CHECK(ProgressLine(state) == "importing 1,234,567 documents, 123,456/s, 1.0 MiB/s, 0:10");
  ProgressState embedding;
  embedding.what = "embedding";
  embedding.done = 5;
  embedding.total = 5;
  embedding.detail = "0 left";
  embedding.seconds = 0.5;
  CHECK(ProgressLine(embedding) == "embedding [" + std::string(30, '#') + "] 100% 0 left, 0:01");
  CHECK(ClockText(3 * 3600 + 4 * 60 + 4.2) == "3:04:05");
  CHECK(ClockText(1e300) == "99:59:59");
  CHECK(GroupedCount(999) == "999");
  CHECK(GroupedCount(1000) == "1,000");
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

DatabaseNames Plant() {
  DatabaseNames names;
  names.collections = {{"notes", {"id", "body", "text", "temperature", "site", "site.name", "distance"}, {"site.name"}},
                       {"pumps", {"id", "body", "pressure", "distance"}, {"place.row"}}};
  names.functions = {"abs", "count", "embed", "json_extract"};
  names.models = {"minilm"};
  return names;
}

std::vector<std::string> Offered(std::string_view before, std::string_view after = {}) {
  return CompleteSql(before, after, Plant()).words;
}

TEST_CASE("completion: collections follow FROM, JOIN, INTO and UPDATE") {
  const std::vector<std::string> both = {"notes", "pumps"};
  for (const char* before : {"SELECT 1 FROM ", "select 1 from notes join ", "INSERT INTO ", "UPDATE ", "DELETE FROM ",
                             "SELECT 1 FROM notes AS n, ", "SELECT 1; SELECT 2 FROM "}) {
    CAPTURE(before);
    CHECK(Offered(before) == both);
  }
  CHECK(Offered("SELECT 1 FROM NO") == std::vector<std::string>{"notes"});
}

TEST_CASE("completion: fields are those of the statement's collections, wherever they are named") {
  CHECK(Offered("SELECT pr", " FROM notes").empty());
  CHECK(Offered("SELECT pr", " FROM pumps") == std::vector<std::string>{"pressure"});
  CHECK(Offered("SELECT pr") == std::vector<std::string>{"pressure"});
  CHECK(Offered("SELECT * FROM notes n JOIN pumps AS p ON n.te") == std::vector<std::string>{"temperature", "text"});
  CHECK(Offered("SELECT * FROM notes n JOIN pumps AS p ON p.pr") == std::vector<std::string>{"pressure"});
  CHECK(Offered("SELECT n.si", " FROM notes n") == std::vector<std::string>{"\"site.name\"", "site"});
  CHECK(Offered("SELECT \"site.", " FROM notes") == std::vector<std::string>{"site.name"});
  CHECK(CompleteSql("SELECT \"site.", " FROM notes", Plant()).suffix == "\"");
  CHECK(Offered("SELECT abs(te", ") FROM notes") == std::vector<std::string>{"temperature", "text"});
}

TEST_CASE("completion: JSON paths and models inside quotes") {
  CHECK(Offered("SELECT body ->> '$.pl", " FROM pumps") == std::vector<std::string>{"$.place.row"});
  CHECK(Offered("SELECT body ->> '$.pl", " FROM notes").empty());
  CHECK(Offered("SELECT body ->> '$.pl", "' FROM notes").empty());
  CHECK(Offered("SELECT body ->> '$.pl", " FROM notes WHERE text = 'x'").empty());
  CHECK(Offered("SELECT embed('m") == std::vector<std::string>{"minilm"});
  CHECK(Offered("SELECT 'no").empty());
  CHECK(CompleteSql("SELECT embed('m", "", Plant()).suffix == "'");
}

TEST_CASE("completion: keywords keep the case that was typed, and functions wait for arguments") {
  CHECK(Offered("sel") == std::vector<std::string>{"select"});
  CHECK(Offered("SEL") == std::vector<std::string>{"SELECT"});
  CHECK(Offered("FRO").empty());
  CHECK(Offered("SELECT json_e") == std::vector<std::string>{"json_extract("});
  CHECK(CompleteSql("SELECT json_e", "", Plant()).suffix.empty());
  CHECK(Offered("").empty());
  CHECK(Offered("SELECT 1 WHERE x = 'FROM ").empty());
}

TEST_CASE("completion: commands and what they take") {
  auto offered = [](std::string_view before) { return CompleteCommand(before, Plant()).words; };
  CHECK(offered(".mo") == std::vector<std::string>{".mode", ".models"});
  CHECK(offered(".mode ") == std::vector<std::string>{"csv", "json", "table"});
  CHECK(offered(".mode j") == std::vector<std::string>{"json"});
  CHECK(offered(".schema n") == std::vector<std::string>{"notes"});
  CHECK(offered(".models m") == std::vector<std::string>{"minilm"});
  CHECK(offered(".help ti") == std::vector<std::string>{"timer"});
  CHECK(offered(".timer o") == std::vector<std::string>{"off", "on"});
  CHECK(offered(".nothing x").empty());
  CHECK(offered(".quit x").empty());
}

TEST_CASE("shell: a command's words are split at spaces outside quotes") {
  CHECK(*SplitWords(" .export  notes --where \"a = 'x y'\" -o 'my file' ") ==
        std::vector<std::string>{".export", "notes", "--where", "a = 'x y'", "-o", "my file"});
  CHECK_FALSE(SplitWords(".read 'x").ok());
}

TEST_CASE("errors: the nearest name is near or not offered") {
  CHECK(EditDistance("temprature", "temperature") == 1);
  CHECK(EditDistance("tmeperature", "Temperature") == 1);
  CHECK(EditDistance("", "abc") == 3);
  CHECK(EditDistance("abc", "") == 3);
  const std::vector<std::string> names = {"temperature", "text", "id"};
  CHECK(NearestName("temprature", names) == "temperature");
  CHECK(NearestName("TEXT1", names) == "text");
  CHECK_FALSE(NearestName("pressure", names).has_value());
  CHECK_FALSE(NearestName("x", names).has_value());
  CHECK_FALSE(NearestName(std::string(1000, 'x'), names).has_value());
}

TEST_CASE("errors: the wrong token has a caret, and what may have been meant is said") {
  const DatabaseNames names = Plant();
  auto hint = ExplainSqlError("SELECT id\nFROM notse", "SQL: collection \"notse\" does not exist", names);
  CHECK(hint.place == "  FROM notse\n       ^\n");
  CHECK(hint.message == "SQL: collection \"notse\" does not exist; did you mean \"notes\"?");
  hint = ExplainSqlError("SELECT n.temprature FROM notes n", "SQL: no such column: n.temprature", names);
  CHECK(hint.place == "  SELECT n.temprature FROM notes n\n           ^\n");
  CHECK(hint.message == "SQL: no such column: n.temprature; did you mean \"temperature\"?");
  hint = ExplainSqlError("SELECT row FROM pumps", "SQL: no such column: row (at byte 7)", names);
  CHECK(hint.place == "  SELECT row FROM pumps\n         ^\n");
  CHECK(hint.message.ends_with("; a nested field: body ->> '$.place.row'"));
  hint = ExplainSqlError("SELECT place.row FROM pumps", "SQL: no such column: place.row", names);
  CHECK(hint.message.ends_with("; a nested field: body ->> '$.place.row'"));
  hint = ExplainSqlError("SELECT ebmed('a')", "SQL: no such function: ebmed", names);
  CHECK(hint.message.ends_with("; did you mean \"embed\"?"));
  hint = ExplainSqlError("SELECT (1", "SQL: incomplete input", names);
  CHECK(hint.place == "  SELECT (1\n           ^\n");
  hint = ExplainSqlError("SELEC 1", "SQL: near \"SELEC\": syntax error (at byte 0)", names);
  CHECK(hint.message.ends_with("; did you mean SELECT?"));
  hint = ExplainSqlError("SELECT 1 FROM zzzzz", "SQL: collection \"zzzzz\" does not exist", names);
  CHECK(hint.message.ends_with("; there are: notes, pumps"));
  hint = ExplainSqlError("INSERT INTO notes (txet) VALUES (1)", "SQL: table notes has no column named txet", names);
  CHECK(hint.place == "  INSERT INTO notes (txet) VALUES (1)\n                     ^\n");
  CHECK(hint.message.ends_with("; did you mean \"text\"?"));
}

TEST_CASE("table: numbers stand to the right, NULL is what was asked for, and given widths bind") {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  RowPrinter printer(file, PrintOptions{.null_text = "-", .widths = {0, 4}, .row_count_max = 3});
  printer.Begin({"n", "name", "mixed"});
  printer.Row({std::int64_t{5}, std::string("日本語"), std::int64_t{1}});
  printer.Row({std::int64_t{1000}, SqlValue{}, std::string("x")});
  CHECK_FALSE(printer.is_full());
  printer.Row({SqlValue{}, std::string("abcdef"), 2.5});
  CHECK(printer.is_full());
  REQUIRE(printer.End().ok());
  std::rewind(file);
  char text[500] = {};
  CHECK(std::fread(text, 1, sizeof text - 1, file) > 0);
  std::fclose(file);
  CHECK(std::string(text) ==
        "   n  name  mixed\n"
        "----  ----  -----\n"
        "   5  日…   1\n"
        "1000  -     x\n"
        "   -  abc…  2.5\n");
}

TEST_CASE("plan: the rows of EXPLAIN QUERY PLAN are a tree") {
  const std::vector<PlanStep> steps = {
      {2, 0, "COMPOUND"}, {3, 2, "LEFT"}, {9, 3, "SCAN a"}, {20, 2, "RIGHT"}, {30, 0, "ORDER BY"}};
  CHECK(PlanTree(steps) == "QUERY PLAN\n|--COMPOUND\n|  |--LEFT\n|  |  `--SCAN a\n|  `--RIGHT\n`--ORDER BY\n");
}

TEST_CASE("completion: the common beginning ignores case") {
  CHECK(CommonPrefix({"select", "SELECTED"}) == "select");
  CHECK(CommonPrefix({"site", "size"}) == "si");
  CHECK(CommonPrefix({"a", "b"}).empty());
  CHECK(CommonPrefix({}).empty());
}

}  // namespace
}  // namespace foreshore::cli
