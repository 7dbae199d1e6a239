#include "foreshore/database.h"

#include "engine/api/transaction_state.h"
#include "engine/database/core.h"
#include "engine/database/named_savepoints.h"
#include "engine/model/model_registry.h"
#include "engine/query/live_queries.h"
#include "engine/query/search_sql.h"
#include "engine/query/sql_session.h"
#include "engine/query/text_scan.h"

namespace foreshore {

struct Database::SqlState {
  explicit SqlState(DatabaseCore& core) : sessions(core), live(core) {}
  SqlSessions sessions;
  LiveQueries live;
};

namespace {

// Runs `body` on the collection in a transaction of its own.
template <typename Body>
Status InTransaction(DatabaseCore& core, const std::string& collection, const Body& body) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginWrite());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view->catalog().Require(collection));
  FORESHORE_RETURN_IF_ERROR(body(*view, *definition));
  return view->Commit();
}

Result<std::string> BodyOf(ReadView& view, const std::string& collection, const std::string& id) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view.catalog().Require(collection));
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view.Get(*definition, id));
  if (!record) {
    return Status::NotFound("collection \"" + collection + "\": document \"" + id + "\" does not exist");
  }
  return std::string(record->body);
}

}  // namespace

Database::Database(std::unique_ptr<DatabaseCore> core)
    : core_(std::move(core)), sql_(std::make_unique<SqlState>(*core_)) {}

Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::Open(const std::string& path, const DatabaseOptions& options) {
  FORESHORE_ASSIGN_OR_RETURN(auto core, DatabaseCore::Open(path, options));
  return std::unique_ptr<Database>(new Database(std::move(core)));
}

Status Database::Close() {
  FORESHORE_RETURN_IF_ERROR(core_->RefuseInsideRuntime("closing the database"));
  sql_->live.Stop();
  return core_->Close();
}

Status Database::CreateCollection(const std::string& name, const CollectionOptions& options) {
  // The library's own collections are made by the library.
  FORESHORE_RETURN_IF_ERROR(ValidateCollectionName(name));
  return core_->CreateCollection(name, options);
}

Result<std::uint64_t> Database::DeleteReadings(const std::string& collection, const ReadingRange& range) {
  std::uint64_t count = 0;
  FORESHORE_RETURN_IF_ERROR(
      InTransaction(*core_, collection, [&](WriteView& view, const CollectionDefinition& definition) -> Status {
        FORESHORE_ASSIGN_OR_RETURN(count, view.DeleteReadings(definition, range));
        return Status::Ok();
      }));
  return count;
}

Status Database::SetExpiryField(const std::string& collection, const std::string& field) {
  FORESHORE_RETURN_IF_ERROR(ValidateCollectionName(collection));
  return core_->SetExpiryField(collection, field);
}

Result<std::vector<std::string>> Database::ListCollections() {
  std::vector<std::string> names;
  for (const CollectionDefinition& collection : core_->catalog()->collections) {
    if (!collection.name.starts_with('_')) names.push_back(collection.name);
  }
  return names;
}

Status Database::Put(const std::string& collection, const std::string& id, std::string_view json,
                     const Document* base) {
  return InTransaction(*core_, collection, [&](WriteView& view, const CollectionDefinition& definition) {
    return view.Put(definition, id, json, base);
  });
}

Result<std::string> Database::PutNew(const std::string& collection, std::string_view json) {
  std::string id;
  FORESHORE_RETURN_IF_ERROR(
      InTransaction(*core_, collection, [&](WriteView& view, const CollectionDefinition& definition) -> Status {
        FORESHORE_ASSIGN_OR_RETURN(id, view.PutNew(definition, json));
        return Status::Ok();
      }));
  return id;
}

Result<std::string> Database::Get(const std::string& collection, const std::string& id) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_->BeginRead());
  return BodyOf(*view, collection, id);
}

Result<Document> Database::Read(const std::string& collection, const std::string& id) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_->BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view->catalog().Require(collection));
  return view->Read(*definition, id);
}

Status Database::Patch(const std::string& collection, const std::string& id, std::string_view merge_patch) {
  return InTransaction(*core_, collection, [&](WriteView& view, const CollectionDefinition& definition) {
    return view.Patch(definition, id, merge_patch);
  });
}

Status Database::Delete(const std::string& collection, const std::string& id) {
  return InTransaction(*core_, collection, [&](WriteView& view, const CollectionDefinition& definition) {
    return view.Delete(definition, id);
  });
}

Status Database::Scan(const std::string& collection,
                      const std::function<bool(std::string_view id, std::string_view body)>& visit) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_->BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view->catalog().Require(collection));
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->Scan(*definition));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
    if (!more || !visit(cursor->id(), cursor->body())) return Status::Ok();
  }
}

Result<std::unique_ptr<Transaction>> Database::Begin(std::chrono::milliseconds timeout) {
  FORESHORE_ASSIGN_OR_RETURN(auto view, core_->BeginWrite(timeout, "a transaction of Database::Begin"));
  auto state = std::make_unique<Transaction::State>();
  state->view = std::move(view);
  return std::unique_ptr<Transaction>(new Transaction(std::move(state)));
}

Result<std::unique_ptr<Statement>> Database::Prepare(std::string_view sql, const SqlOptions& options) {
  return sql_->sessions.Prepare(sql, options);
}

Result<std::unique_ptr<SqlConnection>> Database::Connect(const SqlOptions& options) {
  FORESHORE_ASSIGN_OR_RETURN(auto session, SqlSession::Create(*core_, options));
  return std::unique_ptr<SqlConnection>(std::move(session));
}

Result<Table> Database::Query(std::string_view sql, std::span<const SqlValue> parameters, const SqlOptions& options) {
  FORESHORE_ASSIGN_OR_RETURN(const auto statement, Prepare(sql, options));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    FORESHORE_RETURN_IF_ERROR(statement->Bind(static_cast<int>(i) + 1, parameters[i]));
  }
  Table table;
  table.columns = statement->columns();
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, statement->Step());
    if (!has_row) break;
    std::vector<SqlValue>& row = table.rows.emplace_back();
    row.reserve(table.columns.size());
    for (std::size_t i = 0; i < table.columns.size(); ++i) row.push_back(statement->Column(static_cast<int>(i)));
  }
  table.changed_count = statement->changed_count();
  return table;
}

Result<std::unique_ptr<Subscription>> Database::Subscribe(std::string_view sql, std::span<const SqlValue> parameters,
                                                          const SubscriptionOptions& options,
                                                          SubscriptionCallback callback) {
  return sql_->live.Subscribe(sql, parameters, options, std::move(callback));
}

std::size_t Database::DispatchSubscriptions() {
  return sql_->live.Dispatch();
}

Result<std::vector<std::string>> Database::SqlNames() {
  return sql_->sessions.Names();
}

Status Database::CreateVectorIndex(const std::string& collection, const VectorFieldOptions& options) {
  return core_->CreateVectorIndex(collection, options);
}

Result<HnswlibImportResult> Database::ImportHnswlib(const std::string& collection,
                                                    const HnswlibImportOptions& options) {
  return core_->ImportHnswlib(collection, options);
}

Status Database::DropVectorIndex(const std::string& collection, const std::string& field) {
  return core_->DropVectorIndex(collection, field);
}

Result<VectorTuningResult> Database::TuneVectorIndex(const std::string& collection, const std::string& field,
                                                     double recall, std::size_t sample_count) {
  return core_->TuneVectorIndex(collection, field, recall, sample_count);
}

Status Database::CreateTextIndex(const std::string& collection, const TextIndexOptions& options) {
  return core_->CreateTextIndex(collection, options);
}

Status Database::DropTextIndex(const std::string& collection) {
  return core_->DropTextIndex(collection);
}

Result<std::vector<TextIndexInfo>> Database::ListTextIndexes() {
  return core_->ListTextIndexes();
}

Status Database::WaitTextIndex(const std::string& collection, std::chrono::milliseconds timeout,
                               const std::function<void(std::uint64_t pending)>& progress) {
  return core_->WaitTextIndex(collection, timeout, progress);
}

Result<std::vector<IndexInfo>> Database::ListIndexes() {
  return core_->ListIndexes();
}

Status Database::CreateFieldIndex(const std::string& collection, const FieldIndexOptions& options) {
  return core_->CreateFieldIndex(collection, options);
}

Status Database::DropFieldIndex(const std::string& collection, const std::string& name) {
  return core_->DropFieldIndex(collection, name);
}

Status Database::CreatePredictiveIndex(const std::string& collection, const PredictiveIndexOptions& options) {
  return core_->CreatePredictiveIndex(collection, options);
}

Status Database::DropPredictiveIndex(const std::string& collection, const std::string& name) {
  return core_->DropPredictiveIndex(collection, name);
}

Status Database::WaitIndexed(std::chrono::milliseconds timeout,
                             const std::function<void(std::uint64_t pending)>& progress) {
  return core_->WaitIndexed(timeout, progress);
}

Result<std::vector<UniqueConflict>> Database::ListUniqueConflicts(const std::string& collection) {
  return core_->ListUniqueConflicts(collection);
}

Result<std::vector<SearchHit>> Database::Search(const std::string& collection, const SearchRequest& request) {
  const auto catalog = core_->catalog();
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, catalog->Require(collection));
  if (request.mode != SearchMode::kVector && !definition->text_index) {
    return Status::NotFound("collection \"" + collection +
                            "\": has no full-text index, expected one to search by words");
  }
  const std::string match = request.match.empty() ? AnyWordQuery(request.text) : request.match;
  if (request.mode == SearchMode::kText) {
    return SearchTextSql(sql_->sessions, definition->name, match, request.k, request.where);
  }
  const VectorIndexDefinition* index = nullptr;
  if (!request.field.empty()) {
    index = definition->FindVectorIndex(request.field);
  } else if (definition->vector_indexes.size() == 1) {
    index = &definition->vector_indexes.front();
  }
  if (index == nullptr) {
    return Status::NotFound("collection \"" + collection + "\": " +
                            (request.field.empty()
                                 ? std::to_string(definition->vector_indexes.size()) +
                                       " vector fields, expected exactly one where the search names none"
                                 : "vector field \"" + request.field + "\" does not exist"));
  }
  if (request.vector.empty() && !index->has_model()) {
    return Status::InvalidArgument("vector index \"" + index->name +
                                   "\": a search by text needs a field with a model, expected a vector");
  }
  const SearchQuery query = request.vector.empty()
                                ? SearchQuery(index->options.model, index->options.adapter, request.text)
                                : SearchQuery(request.vector);
  if (request.mode == SearchMode::kHybrid) {
    return SearchHybridSql(sql_->sessions, definition->name, match, index->options.field, query, request.k,
                           request.where);
  }
  return SearchSql(sql_->sessions, definition->name, index->options.field, query, request.k, request.where);
}

Status Database::WaitEmbedded(std::chrono::milliseconds timeout,
                              const std::function<void(std::uint64_t pending)>& progress) {
  return core_->WaitEmbedded(timeout, progress);
}

Result<ModelInfo> Database::AddModel(const std::string& name, const std::string& path,
                                     const ModelImportOptions& options) {
  return core_->models().Add(name, path, options);
}

Result<std::vector<ModelInfo>> Database::ListModels() {
  return core_->models().List();
}

Result<ModelInfo> Database::GetModel(const std::string& name) {
  return core_->models().Get(name);
}

Result<ModelInfo> Database::DescribeModel(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(ModelInfo info, core_->models().Get(name));
  if (info.architecture != "graph" || !info.is_complete) return info;
  FORESHORE_ASSIGN_OR_RETURN(const auto model, core_->models().LoadNumbers(name));
  info.fusions = model->fusions();
  return info;
}

Status Database::RemoveModel(const std::string& name) {
  return core_->models().Remove(name);
}

Result<ModelInfo> Database::RegisterRuntime(const std::string& name, const RuntimeOptions& options,
                                            RuntimeCallback callback) {
  return core_->models().Register(name, options, std::move(callback));
}

Status Database::UnregisterRuntime(const std::string& name) {
  return core_->models().Unregister(name);
}

Result<ModelQuantizeReport> Database::QuantizeModel(const std::string& name, const std::string& as,
                                                    const ModelQuantizeOptions& options) {
  return core_->QuantizeModel(name, as, options);
}

Result<ModelInfo> Database::AddAdapter(const std::string& model, const std::string& adapter, const std::string& path) {
  return core_->models().AddAdapter(model, adapter, path);
}

Status Database::RemoveAdapter(const std::string& model, const std::string& adapter) {
  return core_->RemoveAdapter(model, adapter);
}

Result<std::vector<float>> Database::Embed(const std::string& model, std::string_view text,
                                           const std::string& adapter) {
  FORESHORE_ASSIGN_OR_RETURN(const auto loaded, core_->LoadForSearch(*core_->catalog(), model, adapter));
  std::vector<float> vector(loaded->info().dimension);
  FORESHORE_RETURN_IF_ERROR(loaded->Embed({&text, 1}, vector));
  return vector;
}

Result<std::string> Database::Predict(const std::string& model, std::string_view input_json,
                                      const std::string& adapter) {
  return core_->models().Predict(model, input_json, adapter);
}

Result<std::vector<RescuedValue>> Database::ListRescued(const std::string& collection) {
  return core_->ListRescued(collection);
}

Result<DatabaseStats> Database::Stats() {
  FORESHORE_ASSIGN_OR_RETURN(DatabaseStats stats, core_->Stats());
  stats.subscription_count = sql_->live.subscription_count();
  return stats;
}

Result<VerifyReport> Database::Verify() {
  return core_->Verify();
}

Status Database::Checkpoint() {
  return core_->Checkpoint();
}

Status Database::Compact() {
  return core_->Compact();
}

Status Database::Backup(const std::string& destination) {
  return core_->Backup(destination);
}

Transaction::Transaction(std::unique_ptr<State> state) : state_(std::move(state)) {}
Transaction::~Transaction() = default;

Status Transaction::Put(const std::string& collection, const std::string& id, std::string_view json,
                        const Document* base) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, state_->view->catalog().Require(collection));
  return state_->view->Put(*definition, id, json, base);
}

Result<std::string> Transaction::PutNew(const std::string& collection, std::string_view json) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, state_->view->catalog().Require(collection));
  return state_->view->PutNew(*definition, json);
}

Result<std::string> Transaction::Get(const std::string& collection, const std::string& id) {
  return BodyOf(*state_->view, collection, id);
}

Status Transaction::Patch(const std::string& collection, const std::string& id, std::string_view merge_patch) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, state_->view->catalog().Require(collection));
  return state_->view->Patch(*definition, id, merge_patch);
}

Status Transaction::Delete(const std::string& collection, const std::string& id) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, state_->view->catalog().Require(collection));
  return state_->view->Delete(*definition, id);
}

Status Transaction::Savepoint(const std::string& name) {
  return state_->savepoints.Make(state_->view.get(), name);
}

Status Transaction::RollbackTo(const std::string& name) {
  return state_->savepoints.RollbackTo(state_->view.get(), name);
}

Status Transaction::Release(const std::string& name) {
  return state_->savepoints.Release(state_->view.get(), name);
}

Status Transaction::Commit() {
  return state_->view->Commit();
}

}  // namespace foreshore
