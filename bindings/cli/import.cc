// import: streaming, so that memory stays bounded by a batch.
#include <algorithm>
#include <istream>
#include <utility>

#include "bindings/cli/document_source.h"
#include "bindings/cli/input_file.h"
#include "bindings/cli/progress.h"
#include "bindings/cli/transfer.h"

namespace foreshore::cli {
namespace {

// A batch ends here too, so that large documents do not pile up.
constexpr std::size_t kBatchBytesMax = 4 << 20;
constexpr std::size_t kSkippedShownMax = 5;

// Whether another document may fare better.
bool IsAboutDocument(const Status& status) {
  return status.code() == ErrorCode::kInvalidArgument || status.code() == ErrorCode::kLimit ||
         status.code() == ErrorCode::kConflict || status.code() == ErrorCode::kAlreadyExists;
}

class Importer {
 public:
  Importer(Database& database, const ImportArguments& arguments, DocumentSource& source, const InputFile& file,
           const Interrupt& interrupt)
      : database_(database), arguments_(arguments), source_(source), file_(file), interrupt_(interrupt) {}

  Status Run() {
    ProgressBar bar("importing", file_.total_bytes(), true);
    FORESHORE_RETURN_IF_ERROR(PassOver());
    while (!is_over_) {
      Status status = FillBatch();
      if (status.ok()) status = CommitBatch();
      if (!status.ok()) return Failure(status);
      if (is_interrupted()) return Interrupted();
      bar.UpdateDocuments(file_.consumed_bytes(), report_.imported_count);
    }
    report_.seconds = bar.seconds();
    return Status::Ok();
  }
  const ImportReport& report() const { return report_; }

 private:
  struct Entry {
    ImportDocument document;
    std::uint64_t line = 0;
  };
  struct Failed {
    std::size_t index = 0;  // Into the batch.
    Status status;
  };

  bool is_interrupted() const { return interrupt_.is_requested() && !(is_over_ && batch_.empty()); }

  // A document, or nothing at the end of the file.
  Result<bool> Next(ImportDocument& document) {
    Result<bool> has_document = source_.Next(document);
    // What the file did not give up would look like its end, or like a broken document.
    const bool is_at_end = !has_document.ok() || !*has_document;
    if (is_at_end && !file_.status().ok()) return file_.status();
    if (has_document.ok() && !*has_document) is_over_ = true;
    return has_document;
  }

  // The documents that an earlier import has dealt with.
  Status PassOver() {
    ImportDocument document;
    for (; passed_count_ < arguments_.pass_over_count && !is_over_; ++passed_count_) {
      const Result<bool> has_document = Next(document);
      if (!has_document.ok() && !CanSkip(has_document.status())) return Failure(has_document.status());
      if (interrupt_.is_requested()) return Interrupted();
    }
    return Status::Ok();
  }

  bool CanSkip(const Status& status) const {
    return arguments_.on_error == "skip" && source_.can_continue() && file_.status().ok() && IsAboutDocument(status);
  }

  void NoteSkipped(std::uint64_t line, const Status& status) {
    ++report_.skipped_count;
    if (report_.skipped.size() < kSkippedShownMax) {
      report_.skipped.emplace_back(line, status.message());
    }
  }

  Status FillBatch() {
    batch_.clear();
    std::size_t bytes = 0;
    while (batch_.size() < arguments_.batch_count && bytes < kBatchBytesMax && !interrupt_.is_requested()) {
      Entry entry;
      const Result<bool> has_document = Next(entry.document);
      if (!has_document.ok()) {
        failed_line_ = source_.line_number();
        if (file_.status().code() == ErrorCode::kCancelled) return Status::Ok();  // What was read is kept.
        if (!CanSkip(has_document.status())) return FirstProblem(has_document.status());
        NoteSkipped(failed_line_, has_document.status());
        continue;
      }
      if (!*has_document) break;
      entry.line = source_.line_number();
      bytes += entry.document.body.size();
      batch_.push_back(std::move(entry));
    }
    return Status::Ok();
  }

  // Of the documents before one that cannot be read, one may be wrong too, and comes first.
  Status FirstProblem(const Status& unreadable) {
    if (batch_.empty()) return unreadable;
    const std::uint64_t line = failed_line_;
    FORESHORE_ASSIGN_OR_RETURN(const Failed failed, PutRange(0, batch_.size(), false));
    failed_line_ = failed.status.ok() ? line : batch_[failed.index].line;
    return failed.status.ok() ? unreadable : failed.status;
  }

  // One transaction, or, around documents that are skipped, several.
  Status CommitBatch() {
    std::size_t start = 0;
    while (start < batch_.size()) {
      FORESHORE_ASSIGN_OR_RETURN(const Failed failed, PutRange(start, batch_.size()));
      if (failed.status.ok()) break;
      const std::uint64_t line = batch_[failed.index].line;
      failed_line_ = line;
      if (arguments_.on_error != "skip" || !IsAboutDocument(failed.status)) return failed.status;
      // The transaction is gone with the document; those before it are written again without it.
      if (failed.index > start) {
        FORESHORE_ASSIGN_OR_RETURN(const Failed again, PutRange(start, failed.index));
        FORESHORE_RETURN_IF_ERROR(again.status);
      }
      NoteSkipped(line, failed.status);
      start = failed.index + 1;
    }
    return Status::Ok();
  }

  // An error is the transaction's; a document's is in the answer, and nothing of the range is written.
  Result<Failed> PutRange(std::size_t start, std::size_t end, bool is_kept = true) {
    failed_line_ = batch_[start].line;
    FORESHORE_ASSIGN_OR_RETURN(const auto transaction, database_.Begin(std::chrono::minutes(1)));
    for (std::size_t index = start; index < end; ++index) {
      const ImportDocument& document = batch_[index].document;
      Status status;
      if (document.id.has_value()) {
        status = transaction->Put(arguments_.collection, *document.id, document.body);
      } else {
        status = transaction->PutNew(arguments_.collection, document.body).status();
      }
      if (!status.ok()) return Failed{index, status};
    }
    if (!is_kept) return Failed{};
    FORESHORE_RETURN_IF_ERROR(transaction->Commit());
    report_.imported_count += end - start;
    return Failed{};
  }

  Status Failure(const Status& status) const {
    std::string counts = GroupedCount(report_.imported_count) + " documents imported before";
    if (report_.skipped_count > 0) counts += ", " + GroupedCount(report_.skipped_count) + " skipped";
    const std::uint64_t line = failed_line_ > 0 ? failed_line_ : source_.line_number();
    return status.WithContext(arguments_.file + ":" + std::to_string(line) + ": " + counts + ", none of this batch");
  }

  Status Interrupted() const {
    const std::uint64_t count = passed_count_ + report_.imported_count + report_.skipped_count;
    return Status::Cancelled(arguments_.file + ": interrupted after " + GroupedCount(report_.imported_count) +
                             " documents were imported and kept; --skip " + std::to_string(count) +
                             " goes on behind them");
  }

  Database& database_;
  const ImportArguments& arguments_;
  DocumentSource& source_;
  const InputFile& file_;
  const Interrupt& interrupt_;
  std::vector<Entry> batch_;
  ImportReport report_;
  std::uint64_t passed_count_ = 0;
  std::uint64_t failed_line_ = 0;
  bool is_over_ = false;
};

// An import waits for its vectors: what it reports as done is searchable.
Status WaitForVectors(Database& database, const Interrupt& interrupt) {
  FORESHORE_ASSIGN_OR_RETURN(const DatabaseStats stats, database.Stats());
  const std::uint64_t total = stats.pending_embedding_count;
  if (total == 0) return Status::Ok();
  ProgressBar bar("embedding", total);
  for (;;) {
    const Status status = database.WaitEmbedded(std::chrono::seconds(1), [&](std::uint64_t pending) {
      bar.Update(total - std::min(total, pending), GroupedCount(pending) + " left");
    });
    if (status.code() != ErrorCode::kBusy) return status;
    if (interrupt.is_requested()) {
      return Status::Cancelled(
          "import: all documents are in; interrupted while vectors were made, which goes on when "
          "the database is next open");
    }
  }
}

}  // namespace

std::string SkippedText(const std::string& file, const ImportReport& report) {
  if (report.skipped_count == 0) return {};
  std::string text = file + ": " + GroupedCount(report.skipped_count) + " documents skipped: ";
  // What cannot be read is found before what cannot be written.
  auto skipped = report.skipped;
  std::sort(skipped.begin(), skipped.end());
  std::string separator;
  for (const auto& [line, why] : skipped) {
    text += std::exchange(separator, "; ") + "line " + std::to_string(line) + ": " + why;
  }
  return report.skipped_count > report.skipped.size() ? text + "; …" : text;
}

Result<ImportReport> ImportFile(Database& database, const ImportArguments& arguments, const Interrupt& interrupt) {
  SourceOptions options;
  options.format = TransferFormat(arguments.format, arguments.file);
  options.id_field = arguments.id_field;
  options.columns = arguments.columns;
  options.types = arguments.types;
  options.null_text = arguments.null_text;
  FORESHORE_ASSIGN_OR_RETURN(options.delimiter, TransferDelimiter(arguments.delimiter, arguments.file));
  FORESHORE_ASSIGN_OR_RETURN(const auto file, InputFile::Open(arguments.file, &interrupt));
  std::istream input(file.get());
  FORESHORE_ASSIGN_OR_RETURN(const auto source, MakeDocumentSource(input, options));
  if (!RequireCollection(database, arguments.collection).ok()) {
    FORESHORE_RETURN_IF_ERROR(database.CreateCollection(arguments.collection));
  }
  Importer importer(database, arguments, *source, *file, interrupt);
  FORESHORE_RETURN_IF_ERROR(importer.Run());
  FORESHORE_RETURN_IF_ERROR(WaitForVectors(database, interrupt));
  return importer.report();
}

Status RunImport(const ImportArguments& arguments) {
  Interrupt interrupt;
  FORESHORE_ASSIGN_OR_RETURN(const auto database,
                             OpenExisting(arguments.database, ThreadCount(arguments.thread_count)));
  FORESHORE_ASSIGN_OR_RETURN(const ImportReport report, ImportFile(*database, arguments, interrupt));
  if (report.skipped_count > 0) Warn(SkippedText(arguments.file, report));
  Say(GroupedCount(report.imported_count) + " documents imported in " + ClockText(report.seconds));
  return database->Close();
}

}  // namespace foreshore::cli
