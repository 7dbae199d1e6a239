// The command line: what may be said, and exit status 0 done, 1 the work failed, 2 usage.
#include <clocale>
#include <cstdio>
#include <exception>
#include <functional>

#include <CLI/CLI.hpp>

#include "bindings/cli/command.h"
#include "bindings/cli/transfer_options.h"

namespace foreshore::cli {
namespace {

// Parsed values live here while the verb runs.
struct Arguments {
  CreateArguments create;
  SqlArguments sql;
  ShellArguments shell;
  ImportArguments import_;
  ExportArguments export_;
  AttachArguments attach;
  IndexCreateArguments index_create;
  IndexImportArguments index_import;
  IndexTuneArguments index_tune;
  ListArguments list;
  NameArguments name;
  ModelAddArguments model_add;
  ModelQuantizeArguments model_quantize;
  AdapterArguments adapter;
  SearchArguments search;
  PredictArguments predict;
  SyncArguments sync;
  GatewayArguments gateway;
  CompactArguments compact;
  BackupArguments backup;
  std::vector<std::string> export_words;
  std::function<Status()> run;
};

void AddFormat(CLI::App* app, Format* format) {
  const std::map<std::string, Format> names = {
      {"table", Format::kTable}, {"json", Format::kJson}, {"csv", Format::kCsv}};
  app->add_option("--format", *format, "table, json or csv")
      ->transform(CLI::CheckedTransformer(names))
      ->default_str("table");
}

CLI::App* AddVerb(CLI::App* parent, const std::string& name, const std::string& what, std::string* database) {
  CLI::App* verb = parent->add_subcommand(name, what);
  if (database != nullptr) verb->add_option("DB", *database, "the database's directory")->required();
  return verb;
}

void AddDataVerbs(CLI::App& app, Arguments& all) {
  CLI::App* create = AddVerb(&app, "create", "make a database", &all.create.database);
  create->add_option("--storage", all.create.storage, "sqlite or rocksdb")
      ->check(CLI::IsMember({"sqlite", "rocksdb"}))
      ->capture_default_str();
  create->add_option("--collection", all.create.collections,
                     "also make this collection; may be given again, and for a "
                     "database that exists");
  create->add_option("--readings", all.create.readings, "also make this collection of time-ordered readings");
  create->add_option("--time", all.create.time_field, "its field of time, an integer")->capture_default_str();
  create->add_option("--series", all.create.series_field, "its field that names the series");
  create->add_option("--time-unit", all.create.time_unit, "s, ms, us or ns since 1970")
      ->check(CLI::IsMember({"s", "ms", "us", "ns"}))
      ->capture_default_str();
  create->add_option("--keep-days", all.create.keep_days, "remove its readings that are older; else all are kept")
      ->check(CLI::Range(1, 100'000));
  create->add_option("--expiry-field", all.create.expiry_field,
                     "documents of these collections expire at the time in this field");
  create->callback([&all] { all.run = [&all] { return RunCreate(all.create); }; });

  CLI::App* shell = AddVerb(&app, "shell", "a SQL shell", &all.shell.database);
  shell->callback([&all] { all.run = [&all] { return RunShell(all.shell); }; });

  CLI::App* sql = AddVerb(&app, "sql", "run SQL and print the rows", &all.sql.database);
  sql->add_option("SQL", all.sql.sql, "statements, or - to read them from standard input")->required();
  AddFormat(sql, &all.sql.format);
  sql->callback([&all] { all.run = [&all] { return RunSql(all.sql); }; });

  CLI::App* search = AddVerb(&app, "search", "find documents by meaning", &all.search.database);
  search->add_option("COLLECTION", all.search.collection, "")->required();
  search->add_option("TEXT", all.search.text, "what to look for")->required();
  search->add_option("-k", all.search.k, "how many")->check(CLI::Range(1, 100'000))->capture_default_str();
  search->add_option("--where", all.search.where, "a SQL expression over the collection's columns");
  search->add_flag("--text", all.search.is_text, "by words: TEXT is a full-text query");
  search->add_flag("--hybrid", all.search.is_hybrid, "by words and meaning together");
  search->add_option("--match", all.search.match, "of --hybrid: the full-text query, in place of TEXT's words");
  search->add_option("--field", all.search.field, "the vector field, where there are several");
  AddFormat(search, &all.search.format);
  search->callback([&all] { all.run = [&all] { return RunSearch(all.search); }; });
}

void AddTransferVerbs(CLI::App& app, Arguments& all) {
  CLI::App* import_ = AddVerb(&app, "import", "read documents into a collection", &all.import_.database);
  AddImportOptions(*import_, all.import_);
  import_->callback([&all] { all.run = [&all] { return RunImport(all.import_); }; });

  CLI::App* export_ = AddVerb(&app, "export", "write a collection in order of id", &all.export_.database);
  AddExportOptions(*export_, all.export_);
  export_->callback([&all] { all.run = [&all] { return RunExport(all.export_); }; });
}

CLI::App* AddAttachVerb(CLI::App* attach, const std::string& name, const std::string& what, bool has_name,
                        Arguments& all, Status (*run)(const AttachArguments&)) {
  CLI::App* verb = AddVerb(attach, name, what, &all.attach.database);
  verb->add_option("COLLECTION", all.attach.collection, "")->required();
  verb->add_option("ID", all.attach.id, "the document")->required();
  if (has_name) verb->add_option("NAME", all.attach.name, "the attachment")->required();
  verb->callback([&all, run] { all.run = [&all, run] { return run(all.attach); }; });
  return verb;
}

void AddAttachVerbs(CLI::App& app, Arguments& all) {
  CLI::App* attach = app.add_subcommand("attach", "attachments of a document")->require_subcommand(1);
  CLI::App* put = AddAttachVerb(attach, "put", "attach a file to a document that exists", true, all, &RunAttachPut);
  put->add_option("FILE", all.attach.file, "- is standard input")->capture_default_str();
  put->add_option("--type", all.attach.content_type, "its content type, such as image/jpeg");
  AddFormat(put, &all.attach.format);
  CLI::App* get = AddAttachVerb(attach, "get", "write an attachment to a file", true, all, &RunAttachGet);
  get->add_option("FILE", all.attach.file, "- is standard output")->capture_default_str();
  CLI::App* list = AddAttachVerb(attach, "list", "the attachments of a document", false, all, &RunAttachList);
  AddFormat(list, &all.attach.format);
  AddAttachVerb(attach, "remove", "remove an attachment", true, all, &RunAttachRemove);
}

void AddIndexImport(CLI::App* index, Arguments& all) {
  IndexImportArguments& to = all.index_import;
  CLI::App* verb = AddVerb(index, "import", "take over an index that hnswlib saved", &to.database);
  verb->add_option("COLLECTION", to.collection, "made where there is none")->required();
  verb->add_option("FIELD", to.field, "of the documents, for the vectors")->required();
  verb->add_option("FILE", to.file, "of saveIndex(), in Python save_index()")->required();
  verb->add_option("--metric", to.metric,
                   "cosine, dot or l2, which the file does not say; known where FIELD has an index")
      ->check(CLI::IsMember({"cosine", "dot", "l2"}));
  verb->add_option("--ids", to.ids_file, "a file with lines of a label, a tab and an id; else the labels are the ids");
  verb->add_option("--bits", to.bits, "kept of each number: 16 finds better, for twice the bytes")
      ->check(CLI::IsMember({8, 16}))
      ->capture_default_str();
  verb->add_option("--graph", to.graph, "flat or hnswlib: who keeps the graph")
      ->check(CLI::IsMember({"flat", "hnswlib"}))
      ->capture_default_str();
  verb->add_flag("--rebuild", to.is_rebuilt, "insert the vectors anew instead of keeping the file's links");
  verb->add_option("--links", to.links_per_node, "of --rebuild: of each vector in the graph; else as in the file")
      ->check(CLI::Range(4, 64));
  AddFormat(verb, &to.format);
  verb->callback([&all] { all.run = [&all] { return RunIndexImport(all.index_import); }; });
}

void AddIndexVerbs(CLI::App& app, Arguments& all) {
  CLI::App* index = app.add_subcommand("index", "indexes of a collection")->require_subcommand(1);
  CLI::App* create = AddVerb(index, "create", "make an index and fill it", &all.index_create.database);
  create->add_option("COLLECTION", all.index_create.collection, "")->required();
  create->add_option("PATH", all.index_create.path, "the field, or several with commas between; tags[]: each element")
      ->required();
  create->add_flag("--text", all.index_create.is_text, "full-text search over the fields");
  create->add_option("--tokenizer", all.index_create.tokenizer, "of --text: unicode, porter or trigram")
      ->check(CLI::IsMember({"unicode", "porter", "trigram"}))
      ->capture_default_str();
  create->add_flag("--keep-diacritics", all.index_create.keep_diacritics, "of --text: letters with accents are others");
  create->add_option("--prefix", all.index_create.prefix_lengths, "of --text: prefixes of these lengths are quick")
      ->delimiter(',')
      ->check(CLI::Range(1, 31));
  create->add_flag("--vector", all.index_create.is_vector, "an index of vectors");
  create->add_flag("--predict", all.index_create.is_predictive,
                   "what --model predicts of the field, of json_array(A, B), or of an attachment, at --output");
  create->add_option("--output", all.index_create.output,
                     "of --predict: the number's place, '$[0][0]' or '$.score[0][0]'");
  create->add_flag("--unique", all.index_create.is_unique, "no value twice");
  create->add_option("--where", all.index_create.where, "only documents that pass: \"size > 3 AND site IS NOT NULL\"");
  create->add_option("--name", all.index_create.name, "else the paths; of --predict MODEL_PATHS");
  create->add_option("--dim", all.index_create.dimension, "numbers in a vector; known with --model")
      ->check(CLI::Range(2, 4096));
  create->add_option("--metric", all.index_create.metric, "cosine, dot or l2")
      ->check(CLI::IsMember({"cosine", "dot", "l2"}))
      ->capture_default_str();
  create
      ->add_option("--bits", all.index_create.bits,
                   "of each number: 16 finds better, for twice the bytes; 4 and 1 search over fewer, beside 8")
      ->check(CLI::IsMember({1U, 4U, 8U, 16U}))
      ->capture_default_str();
  create->add_option("--links", all.index_create.links_per_node, "of each vector in the graph: more finds better")
      ->check(CLI::Range(4, 64))
      ->capture_default_str();
  create->add_option("--graph", all.index_create.graph, "flat or hnswlib: who keeps the graph")
      ->check(CLI::IsMember({"flat", "hnswlib"}))
      ->capture_default_str();
  create->add_option("--model", all.index_create.model, "embed on write, or predict, with this model");
  create->add_option("--adapter", all.index_create.adapter, "by this LoRA adapter of the model");
  create->add_option("--source", all.index_create.sources, "paths of the text to embed, with commas between");
  create->add_option("--threads", all.index_create.thread_count, "for embedding; else one per processor")
      ->check(CLI::Range(0, 1024));
  create->callback([&all] { all.run = [&all] { return RunIndexCreate(all.index_create); }; });

  AddIndexImport(index, all);

  CLI::App* list = AddVerb(index, "list", "the indexes", &all.list.database);
  AddFormat(list, &all.list.format);
  list->callback([&all] { all.run = [&all] { return RunIndexList(all.list); }; });

  CLI::App* tune = AddVerb(index, "tune", "measure recall, and search as much as it takes", &all.index_tune.database);
  tune->add_option("NAME", all.index_tune.name, "COLLECTION.FIELD, a vector field")->required();
  tune->add_option("--recall", all.index_tune.recall, "share of the true ten nearest to be found")
      ->check(CLI::Range(0.5, 1.0))
      ->capture_default_str();
  tune->add_option("--samples", all.index_tune.sample_count, "stored vectors that serve as queries")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  AddFormat(tune, &all.index_tune.format);
  tune->callback([&all] { all.run = [&all] { return RunIndexTune(all.index_tune); }; });

  CLI::App* sources = AddVerb(index, "sources", "of what each vector was made", &all.name.database);
  sources->add_option("NAME", all.name.name, "COLLECTION, or COLLECTION.FIELD for one vector field")->required();
  AddFormat(sources, &all.name.format);
  sources->callback([&all] { all.run = [&all] { return RunIndexSources(all.name); }; });

  CLI::App* drop = AddVerb(index, "drop", "remove an index", &all.name.database);
  drop->add_option("NAME", all.name.name, "COLLECTION.FIELD; a collection's name drops its full-text index")
      ->required();
  drop->callback([&all] { all.run = [&all] { return RunIndexDrop(all.name); }; });
}

void AddModelVerbs(CLI::App& app, Arguments& all) {
  CLI::App* model = app.add_subcommand("model", "models in the database")->require_subcommand(1);
  CLI::App* add = AddVerb(model, "add", "import and quantize a model", &all.model_add.database);
  add->add_option("NAME", all.model_add.name, "")->required();
  add->add_option("FILE", all.model_add.path, "an ONNX or GGUF file, or a folder with safetensors")->required();
  add->add_option("--quantize", all.model_add.quantization, "none (f32) or int8; more by model quantize")
      ->check(CLI::IsMember({"none", "int8"}))
      ->capture_default_str();
  add->add_option("--vocab", all.model_add.vocabulary, "vocab.txt for an ONNX file without one beside it");
  add->add_option("--licence", all.model_add.licence, "kept with the model");
  add->add_option("--origin", all.model_add.origin, "kept with the model");
  AddFormat(add, &all.model_add.format);
  add->callback([&all] { all.run = [&all] { return RunModelAdd(all.model_add); }; });

  ModelQuantizeArguments& quantize_arguments = all.model_quantize;
  CLI::App* quantize = AddVerb(model, "quantize", "make a smaller model of one that is there, calibrated on documents",
                               &quantize_arguments.database);
  quantize->add_option("NAME", quantize_arguments.name, "")->required();
  quantize->add_option("--as", quantize_arguments.as, "the new model's name")->required();
  quantize->add_option("--method", quantize_arguments.method, "int8, gptq4, gptq3 or nf4")
      ->check(CLI::IsMember({"int8", "gptq4", "gptq3", "nf4"}))
      ->capture_default_str();
  quantize
      ->add_option("--calibrate", quantize_arguments.calibration,
                   "COLLECTION.PATH: texts, of a graph inputs, to calibrate and judge by")
      ->required();
  quantize->add_option("--image", quantize_arguments.image,
                       "JSON options of image_tensor(): PATH is then the name of an attachment, for a graph");
  quantize->add_option("--group", quantize_arguments.group_size, "inputs that share a scale, of gptq4 and gptq3")
      ->capture_default_str();
  quantize->add_option("--samples", quantize_arguments.calibration_count, "documents to calibrate on, at most")
      ->capture_default_str();
  quantize->add_option("--held-out", quantize_arguments.held_out_count, "documents to judge by, at most")
      ->capture_default_str();
  quantize
      ->add_option("--min-overlap", quantize_arguments.overlap_min,
                   "the part of the ten nearest that must stay the same for the model to be activated")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  AddFormat(quantize, &quantize_arguments.format);
  quantize->callback([&all] { all.run = [&all] { return RunModelQuantize(all.model_quantize); }; });

  CLI::App* add_adapter = AddVerb(model, "add-adapter", "keep a LoRA adapter beside a model", &all.adapter.database);
  add_adapter->add_option("MODEL", all.adapter.model, "")->required();
  add_adapter->add_option("NAME", all.adapter.adapter, "")->required();
  add_adapter->add_option("DIR", all.adapter.path, "adapter_config.json and adapter_model.safetensors")->required();
  AddFormat(add_adapter, &all.adapter.format);
  add_adapter->callback([&all] { all.run = [&all] { return RunAdapterAdd(all.adapter); }; });

  CLI::App* remove_adapter = AddVerb(model, "remove-adapter", "remove a LoRA adapter", &all.adapter.database);
  remove_adapter->add_option("MODEL", all.adapter.model, "")->required();
  remove_adapter->add_option("NAME", all.adapter.adapter, "")->required();
  remove_adapter->callback([&all] { all.run = [&all] { return RunAdapterRemove(all.adapter); }; });

  CLI::App* list = AddVerb(model, "list", "the models", &all.list.database);
  AddFormat(list, &all.list.format);
  list->callback([&all] { all.run = [&all] { return RunModelList(all.list); }; });

  CLI::App* show = AddVerb(model, "show", "one model", &all.name.database);
  show->add_option("NAME", all.name.name, "")->required();
  AddFormat(show, &all.name.format);
  show->callback([&all] { all.run = [&all] { return RunModelShow(all.name); }; });

  CLI::App* remove = AddVerb(model, "remove", "remove a model that no index uses", &all.name.database);
  remove->add_option("NAME", all.name.name, "")->required();
  remove->callback([&all] { all.run = [&all] { return RunModelRemove(all.name); }; });

  CLI::App* export_ = model->add_subcommand("export", "not in this version");
  export_->add_option("ARGUMENTS", all.export_words, "");
  export_->callback([&all] {
    all.run = [] { return Status::Unsupported("model export: this version does not write model files"); };
  });

  CLI::App* predict = AddVerb(&app, "predict", "run a model on one input", &all.predict.database);
  predict->add_option("MODEL", all.predict.model, "")->required();
  predict->add_option("--input", all.predict.input, "JSON, or @FILE")->required();
  predict->add_option("--adapter", all.predict.adapter, "one of the model's LoRA adapters");
  predict->callback([&all] { all.run = [&all] { return RunPredict(all.predict); }; });
}

void AddNetworkVerbs(CLI::App& app, Arguments& all) {
  CLI::App* sync = AddVerb(&app, "sync", "exchange changes with a gateway", &all.sync.database);
  sync->add_option("URL", all.sync.url, "http://host:port")->required();
  sync->add_option("--token", all.sync.token_file, "a file whose first line is the token");
  CLI::Option* follow = sync->add_flag("--follow", all.sync.follow, "keep both sides level until interrupted");
  sync->add_option("--watch", all.sync.watch, "a SELECT; prints its rows and then what changes in them, as JSON lines")
      ->needs(follow);
  sync->add_flag("--purge-expired", all.sync.purge_expired,
                 "delete, for all devices, what has been expired for a week: for one replica beside the gateway")
      ->needs(follow);
  AddFormat(sync, &all.sync.format);
  sync->callback([&all] { all.run = [&all] { return RunSync(all.sync); }; });

  CLI::App* gateway = app.add_subcommand("gateway", "serve devices that sync; prints its URL, ends on SIGTERM");
  gateway->add_option("--listen", all.gateway.listen, "HOST:PORT; port 0 takes a free one")->required();
  gateway->add_option("--store", all.gateway.store, "the directory it keeps")->required();
  gateway->add_option("--token", all.gateway.token_file, "a file whose first line clients must send");
  gateway->add_option("--tls-cert", all.gateway.tls_certificate, "(not in this version)");
  gateway->add_option("--tls-key", all.gateway.tls_key, "(not in this version)");
  gateway->add_option("--jwt-key", all.gateway.jwt_key, "(not in this version)");
  gateway->callback([&all] { all.run = [&all] { return RunGateway(all.gateway); }; });
}

void AddCareVerbs(CLI::App& app, Arguments& all) {
  CLI::App* verify = AddVerb(&app, "verify", "check everything against everything else", &all.list.database);
  AddFormat(verify, &all.list.format);
  verify->callback([&all] { all.run = [&all] { return RunVerify(all.list); }; });

  CLI::App* stats = AddVerb(&app, "stats", "sizes, counts and what is pending", &all.list.database);
  AddFormat(stats, &all.list.format);
  stats->callback([&all] { all.run = [&all] { return RunStats(all.list); }; });

  CLI::App* compact = AddVerb(&app, "compact", "give unused space back", &all.compact.database);
  compact->callback([&all] { all.run = [&all] { return RunCompact(all.compact); }; });

  CLI::App* backup = AddVerb(&app, "backup", "copy the database while it is whole", &all.backup.database);
  backup->add_option("DEST", all.backup.destination, "a directory that does not exist yet")->required();
  backup->callback([&all] { all.run = [&all] { return RunBackup(all.backup); }; });
}

void PrintError(std::string message) {
  // One line that does nothing to the terminal, whatever a file name or a statement brought in.
  for (char& character : message) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < 0x20 || byte == 0x7F) character = ' ';
  }
  std::fprintf(stderr, "foreshore: %s\n", message.c_str());
}

int Main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  CLI::App app("An embedded database for documents, vectors and models at the edge.", "foreshore");
  app.set_version_flag("--version", "foreshore " FORESHORE_VERSION);
  app.require_subcommand(1);
  Arguments all;
  AddDataVerbs(app, all);
  AddTransferVerbs(app, all);
  AddAttachVerbs(app, all);
  AddIndexVerbs(app, all);
  AddModelVerbs(app, all);
  AddNetworkVerbs(app, all);
  AddCareVerbs(app, all);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    PrintError(std::string(error.what()) + " (foreshore --help tells more)");
    return 2;
  }
  const Status status = all.run();
  if (status.ok()) return 0;
  std::fflush(stdout);
  PrintError(status.message());
  return 1;
}

}  // namespace
}  // namespace foreshore::cli

int main(int argc, char** argv) {
  try {
    return foreshore::cli::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "foreshore: internal error: %s\n", error.what());
    return 1;
  }
}
