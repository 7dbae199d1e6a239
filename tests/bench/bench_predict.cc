// The side of bench "predict" that runs ours: a database of documents with an array of numbers, and a line protocol on
// standard input and output, so that the driver (predict.py) can interleave it with ONNX Runtime.
//
//   bench_predict DIRECTORY ROWS MODEL…         each MODEL an ONNX file, added under its name without the suffix; the
//                                               rows come from standard input, one JSON array a line, before the
//                                               commands
//   "sql STATEMENT" -> nanoseconds to step through all of its rows, by the clock and on the processor, and how many
//   "first STATEMENT" -> its first column, row by row, and an empty line
//   "index MODEL" -> a predictive index over x at $[0][0]: nanoseconds until it is filled, by the clock and on the
//                    processor, and 0
//   "drop MODEL" -> the same of dropping it
#include <time.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>

#include "foreshore/database.h"
#include "tests/bench/bench_clock.h"

namespace foreshore {
namespace {

Status Fill(Database& database, int rows) {
  FORESHORE_RETURN_IF_ERROR(database.CreateCollection("rows"));
  std::string line;
  std::unique_ptr<Transaction> transaction;
  for (int i = 0; i < rows; ++i) {
    if (!std::getline(std::cin, line)) return Status::InvalidArgument("bench_predict: fewer rows than promised");
    if (!transaction) {
      FORESHORE_ASSIGN_OR_RETURN(transaction, database.Begin());
    }
    const std::string document = "{\"n\":" + std::to_string(i) + ",\"x\":" + line + ",\"site\":\"A\"}";
    FORESHORE_RETURN_IF_ERROR(transaction->Put("rows", std::to_string(1'000'000 + i), document));
    if (i % 10'000 == 9'999 || i + 1 == rows) {
      FORESHORE_RETURN_IF_ERROR(transaction->Commit());
      transaction.reset();
    }
  }
  return Status::Ok();
}

Status Answer(Database& database, const std::string& sql, bool prints) {
  const std::int64_t begun = ClockNs();
  const std::int64_t processor_begun = ProcessorNs();
  std::int64_t count = 0;
  FORESHORE_ASSIGN_OR_RETURN(const auto statement, database.Prepare(sql));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, statement->Step());
    if (!has_row) break;
    ++count;
    if (!prints) continue;
    const SqlValue value = statement->Column(0);
    if (const auto* text = std::get_if<std::string>(&value)) std::printf("%s\n", text->c_str());
    if (const auto* real = std::get_if<double>(&value)) std::printf("%.9g\n", *real);
    if (const auto* whole = std::get_if<std::int64_t>(&value)) std::printf("%lld\n", static_cast<long long>(*whole));
  }
  if (prints) std::printf("\n");
  if (!prints) {
    std::printf("%lld %lld %lld\n", static_cast<long long>(ClockNs() - begun),
                static_cast<long long>(ProcessorNs() - processor_begun), static_cast<long long>(count));
  }
  std::fflush(stdout);
  return Status::Ok();
}

Status Time(const std::function<Status()>& work) {
  const std::int64_t begun = ClockNs();
  const std::int64_t processor_begun = ProcessorNs();
  FORESHORE_RETURN_IF_ERROR(work());
  std::printf("%lld %lld 0\n", static_cast<long long>(ClockNs() - begun),
              static_cast<long long>(ProcessorNs() - processor_begun));
  std::fflush(stdout);
  return Status::Ok();
}

Status Obey(Database& database, const std::string& command, const std::string& argument) {
  if (command == "index") {
    return Time([&]() -> Status {
      FORESHORE_RETURN_IF_ERROR(
          database.CreatePredictiveIndex("rows", {.model = argument, .path = "x", .output = "$[0][0]"}));
      return database.WaitIndexed();
    });
  }
  if (command == "drop") return Time([&] { return database.DropPredictiveIndex("rows", argument + "_x"); });
  return Answer(database, argument, command == "first");
}

Status Run(int argument_count, char** arguments) {
  DatabaseOptions options;
  options.create = true;
  options.cache_bytes = 512ULL << 20;
  FORESHORE_ASSIGN_OR_RETURN(const auto database, Database::Open(arguments[1], options));
  FORESHORE_RETURN_IF_ERROR(Fill(*database, std::atoi(arguments[2])));
  for (int i = 3; i < argument_count; ++i) {
    const std::string path = arguments[i];
    const std::string file = path.substr(path.rfind('/') + 1);
    FORESHORE_RETURN_IF_ERROR(database->AddModel(file.substr(0, file.rfind('.')), path).status());
  }
  std::printf("ready\n");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    const std::string command = line.substr(0, line.find(' '));
    FORESHORE_RETURN_IF_ERROR(Obey(*database, command, line.substr(command.size() + 1)));
  }
  return database->Close();
}

}  // namespace
}  // namespace foreshore

int main(int argument_count, char** arguments) {
  if (argument_count < 4) {
    std::fprintf(stderr, "usage: bench_predict DIRECTORY ROWS MODEL…\n");
    return 2;
  }
  const foreshore::Status status = foreshore::Run(argument_count, arguments);
  if (!status.ok()) std::fprintf(stderr, "bench_predict: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
