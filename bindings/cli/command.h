// The verbs of the command line: one options struct and one function each. main.cc parses, runs one and reports.
//
// A verb writes data to standard output and nothing else there; progress goes to standard error, on a terminal only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bindings/cli/output.h"
#include "foreshore/database.h"

namespace foreshore::cli {

struct CreateArguments {
  std::string database;
  std::string storage = "sqlite";
  std::vector<std::string> collections;
  std::string readings;  // A collection of readings, or empty.
  std::string time_field = "t";
  std::string series_field;
  std::string time_unit = "ms";
  std::int64_t keep_days = 0;
  std::string expiry_field;  // Of these collections; empty: as it is.
};
Status RunCreate(const CreateArguments& arguments);

struct SqlArguments {
  std::string database;
  std::string sql;  // One or more statements; "-" reads them from standard input.
  Format format = Format::kTable;
};
Status RunSql(const SqlArguments& arguments);

struct ShellArguments {
  std::string database;
};
Status RunShell(const ShellArguments& arguments);

struct ImportArguments {
  std::string database;
  std::string collection;
  std::string file;    // "-" is standard input.
  std::string format;  // "jsonl", "json", "csv", or empty: by the file's suffix.
  std::string id_field = "id";
  std::size_t batch_count = 1000;  // Documents in one transaction.
  unsigned thread_count = 0;       // For models; 0: one per processor.
  std::string on_error = "stop";   // Or "skip".
  std::uint64_t pass_over_count = 0;
  // CSV only; see SourceOptions.
  std::string delimiter;
  std::string columns;
  std::string types;
  std::string null_text;
};
Status RunImport(const ImportArguments& arguments);

struct ExportArguments {
  std::string database;
  std::string collection;
  std::string format;  // "jsonl", "json", "csv", or empty: by the suffix of `output`.
  std::string where;   // A SQL expression, or empty.
  std::string fields;  // Names or paths with commas between, or empty: all.
  std::string output;  // Empty: standard output.
  std::string delimiter;
};
Status RunExport(const ExportArguments& arguments);

struct AttachArguments {
  std::string database;
  std::string collection;
  std::string id;
  std::string name;
  std::string file = "-";  // Standard input or output.
  std::string content_type;
  Format format = Format::kTable;
};
Status RunAttachPut(const AttachArguments& arguments);
Status RunAttachGet(const AttachArguments& arguments);
Status RunAttachList(const AttachArguments& arguments);
Status RunAttachRemove(const AttachArguments& arguments);

struct IndexCreateArguments {
  std::string database;
  std::string collection;
  std::string path;  // Of a plain index, several with commas between.
  bool is_vector = false;
  bool is_text = false;
  std::string tokenizer = "unicode";
  bool keep_diacritics = false;
  std::vector<std::uint32_t> prefix_lengths;
  bool is_predictive = false;
  std::string output;  // Of a predictive index: a place in what predict() gives.
  bool is_unique = false;
  std::string where;
  std::string name;
  std::uint32_t dimension = 0;
  std::string metric = "cosine";
  unsigned bits = 8;
  std::uint32_t links_per_node = 16;
  std::string graph = "flat";
  std::string model;
  std::string adapter;  // Of the model; empty: none.
  std::string sources;  // Paths, separated by commas.
  unsigned thread_count = 0;
};
Status RunIndexCreate(const IndexCreateArguments& arguments);

struct IndexImportArguments {
  std::string database;
  std::string collection;
  std::string field;
  std::string file;
  std::string metric;    // Empty: that of the index that is there.
  std::string ids_file;  // Empty: the labels are the ids.
  unsigned bits = 8;
  std::string graph = "flat";
  bool is_rebuilt = false;           // The file's links are not kept.
  std::uint32_t links_per_node = 0;  // 0: as in the file.
  Format format = Format::kTable;
};
Status RunIndexImport(const IndexImportArguments& arguments);

struct ListArguments {
  std::string database;
  Format format = Format::kTable;
};
Status RunIndexList(const ListArguments& arguments);
Status RunModelList(const ListArguments& arguments);
Status RunStats(const ListArguments& arguments);
Status PrintStats(Database& database, Format format);
Status RunVerify(const ListArguments& arguments);

struct NameArguments {
  std::string database;
  std::string name;
  Format format = Format::kTable;
};
Status RunIndexDrop(const NameArguments& arguments);
Status RunIndexSources(const NameArguments& arguments);

struct IndexTuneArguments {
  std::string database;
  std::string name;
  double recall = 0.95;
  std::size_t sample_count = 200;
  Format format = Format::kTable;
};
Status RunIndexTune(const IndexTuneArguments& arguments);
Status RunModelShow(const NameArguments& arguments);
Status RunModelRemove(const NameArguments& arguments);

struct ModelAddArguments {
  std::string database;
  std::string name;
  std::string path;
  std::string quantization = "int8";
  std::string vocabulary;
  std::string licence;
  std::string origin;
  Format format = Format::kTable;
};
Status RunModelAdd(const ModelAddArguments& arguments);

struct ModelQuantizeArguments {
  std::string database;
  std::string name;
  std::string as;
  std::string method = "gptq4";
  std::string calibration;  // COLLECTION.PATH
  std::string image;        // Options of image_tensor(), for a graph over attachments.
  std::uint32_t group_size = 128;
  std::size_t calibration_count = 600;
  std::size_t held_out_count = 256;
  double overlap_min = 0.9;
  Format format = Format::kTable;
};
Status RunModelQuantize(const ModelQuantizeArguments& arguments);

struct AdapterArguments {
  std::string database;
  std::string model;
  std::string adapter;
  std::string path;
  Format format = Format::kTable;
};
Status RunAdapterAdd(const AdapterArguments& arguments);
Status RunAdapterRemove(const AdapterArguments& arguments);

struct SearchArguments {
  std::string database;
  std::string collection;
  std::string text;
  std::string field;
  bool is_text = false;
  bool is_hybrid = false;
  std::string match;
  std::string where;
  std::size_t k = 10;
  Format format = Format::kTable;
};
Status RunSearch(const SearchArguments& arguments);

struct PredictArguments {
  std::string database;
  std::string model;
  std::string input;  // JSON, or "@FILE".
  std::string adapter;
};
Status RunPredict(const PredictArguments& arguments);

struct SyncArguments {
  std::string database;
  std::string url;
  std::string token_file;
  bool follow = false;
  bool purge_expired = false;  // This replica deletes for all what has expired.
  std::string watch;           // A SELECT whose differences are printed; with follow.
  Format format = Format::kTable;
};
Status RunSync(const SyncArguments& arguments);

struct GatewayArguments {
  std::string listen;  // HOST:PORT
  std::string store;
  std::string token_file;
  std::string tls_certificate;
  std::string tls_key;
  std::string jwt_key;
};
Status RunGateway(const GatewayArguments& arguments);

struct CompactArguments {
  std::string database;
};
Status RunCompact(const CompactArguments& arguments);

struct BackupArguments {
  std::string database;
  std::string destination;
};
Status RunBackup(const BackupArguments& arguments);

// Opens what is there; a path without a database is kNotFound and nothing is made.
Result<std::unique_ptr<Database>> OpenExisting(const std::string& path, unsigned inference_thread_count = 1);
// kNotFound naming the collections that there are.
Status RequireCollection(Database& database, const std::string& collection);
// A SQL identifier in quotes.
std::string QuoteName(std::string_view name);
unsigned ThreadCount(unsigned asked);
// The first line of a file, for tokens; empty for an empty path.
Result<std::string> ReadToken(const std::string& path);

}  // namespace foreshore::cli
