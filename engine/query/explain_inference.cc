#include "engine/query/explain_inference.h"

#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <set>

#include "engine/model/inference_costs.h"
#include "engine/query/predict_ahead.h"

namespace foreshore {
namespace {

std::string TextAt(sqlite3_stmt* statement, int column) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  return text ? text : "";
}

OwnedStatement Compile(SessionState& session, const std::string& sql) {
  sqlite3_stmt* compiled = nullptr;
  if (sqlite3_prepare_v3(session.db, sql.c_str(), -1, 0, &compiled, nullptr) != SQLITE_OK) compiled = nullptr;
  return {compiled, &sqlite3_finalize};
}

// What SQLite's program for the statement does around the calls.
struct Program {
  struct Call {
    std::string function;  // "predict" or "embed"
    int first_register = 0;
    int address = 0;
  };
  std::vector<Call> calls;
  std::map<int, std::string> texts;  // Constants, by register.
  std::set<int> column_registers;    // That hold a column of a virtual table as it is.
  int start = 0;                     // Where the part begins that makes constants, once.
};

Program ReadProgram(sqlite3_stmt* explain) {
  Program program;
  // Columns: addr, opcode, p1, p2, p3, p4, p5, comment.
  while (sqlite3_step(explain) == SQLITE_ROW) {
    const int address = sqlite3_column_int(explain, 0);
    const std::string opcode = TextAt(explain, 1);
    const int p2 = sqlite3_column_int(explain, 3);
    const int p3 = sqlite3_column_int(explain, 4);
    const std::string p4 = TextAt(explain, 5);
    if (opcode == "Init") program.start = p2;
    if (opcode == "String8") program.texts[p2] = p4;
    if (opcode == "VColumn") program.column_registers.insert(p3);
    if (opcode != "Function" && opcode != "PureFunc") continue;
    const std::string function = p4.substr(0, p4.find('('));
    if (function == "predict" || function == "embed") program.calls.push_back({function, p2, address});
  }
  return program;
}

struct Scans {
  double row_count = 1;  // Of all loops together.
  bool is_full = false;  // One loop, over all documents of a collection.
};

Scans ReadScans(SessionState& session, sqlite3_stmt* plan) {
  Scans scans;
  int scan_count = 0;
  constexpr std::string_view kIndex = " VIRTUAL TABLE INDEX ";
  while (sqlite3_step(plan) == SQLITE_ROW) {
    const std::string detail = TextAt(plan, 3);
    const auto at = detail.find(kIndex);
    if (at == std::string::npos) continue;
    const std::string scan = detail.substr(at + kIndex.size());
    if (const auto found = session.notes.planned_rows.find(scan); found != session.notes.planned_rows.end()) {
      scans.row_count *= static_cast<double>(found->second);
    }
    scans.is_full = ++scan_count == 1 && scan == "1:full scan";
  }
  return scans;
}

// What of a graph runs as one step; empty for any other model.
std::string FusionText(SessionState& session, const std::string& model_name) {
  const auto model = session.core.models().LoadNumbersOrNull(model_name);
  const std::string fusions = model.ok() && *model ? (*model)->fusions() : "";
  return fusions.empty() ? "" : ", fused: " + fusions;
}

std::string RowCountText(double count) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f", std::max(1.0, count));
  return count > 1 ? std::string("about ") + text + " rows" : "1 row";
}

std::string PathText(SessionState& session, const std::string& model_name, bool is_column, const Scans& scans,
                     bool& is_batch) {
  is_batch = false;
  const auto model = session.core.models().LoadNumbersOrNull(model_name);
  if (!model.ok()) return model.status().message();
  if (!*model) return "row by row";
  if (!(*model)->row_width()) return "row by row: it takes no rows in one call";
  if (!(*model)->has_independent_rows()) return "row by row: it is not known to keep rows apart";
  if (!is_column) return "row by row: its input is no column as it is stored";
  if (!scans.is_full) return "row by row: the scan is no full scan of one collection";
  is_batch = true;
  return "up to " + std::to_string(RowWindow::kRowsMax) + " rows in one call";
}

}  // namespace

std::string InferenceCostText(SessionState& session, const std::string& model, bool is_batch) {
  const auto cost_us = session.core.models().costs().MicrosecondsPerRow(model, is_batch);
  if (!cost_us) return "not measured yet";
  char text[48];
  std::snprintf(text, sizeof text, "%.3g us a row, measured", *cost_us);
  return text;
}

std::vector<std::string> ExplainInference(SessionState& session, const std::string& sql) {
  std::vector<std::string> lines;
  session.notes = {};
  const OwnedStatement plan = Compile(session, "EXPLAIN QUERY PLAN " + sql);
  const OwnedStatement explain = Compile(session, "EXPLAIN " + sql);
  if (!plan || !explain) return lines;
  const Scans scans = ReadScans(session, plan.get());
  const Program program = ReadProgram(explain.get());
  for (const Program::Call& call : program.calls) {
    const bool is_once = program.start > 0 && call.address >= program.start;
    const double row_count = is_once ? 1 : scans.row_count;
    std::string line = (call.function == "predict" ? "PREDICT " : "EMBED ");
    const auto model = program.texts.find(call.first_register);
    if (model == program.texts.end()) {
      lines.push_back(line + "by a model that is known when it runs: " + RowCountText(row_count));
      continue;
    }
    bool is_batch = false;
    std::string path = "row by row";
    if (is_once) {
      path = "once";
    } else if (call.function == "predict") {
      path =
          PathText(session, model->second, program.column_registers.contains(call.first_register + 1), scans, is_batch);
    }
    line += "by " + model->second + ": " + RowCountText(row_count) + ", " + path + ", " +
            InferenceCostText(session, model->second, is_batch);
    const auto cost_us = session.core.models().costs().MicrosecondsPerRow(model->second, is_batch);
    if (cost_us && row_count > 1) {
      char total[48];
      std::snprintf(total, sizeof total, ", %.3g ms in all", *cost_us * row_count / 1000);
      line += total;
    }
    lines.push_back(line + FusionText(session, model->second));
  }
  return lines;
}

}  // namespace foreshore
