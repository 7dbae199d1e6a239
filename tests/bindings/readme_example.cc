#include <iostream>

#include "foreshore/database.h"

foreshore::Status Run() {
  FORESHORE_ASSIGN_OR_RETURN(auto db, foreshore::Database::Open("plant.foreshore", {.create = true}));
  FORESHORE_RETURN_IF_ERROR(db->CreateCollection("notes"));
  FORESHORE_ASSIGN_OR_RETURN(auto model, db->AddModel("minilm", "all-minilm-l6-v2"));
  FORESHORE_RETURN_IF_ERROR(db->CreateVectorIndex(
      "notes", {.field = "embedding", .dimension = model.dimension, .model = "minilm", .source_paths = {"text"}}));
  FORESHORE_RETURN_IF_ERROR(db->Put("notes", "n1", R"({"text": "pump 3 runs far too hot", "site": "A"})"));
  FORESHORE_RETURN_IF_ERROR(db->WaitEmbedded());
  FORESHORE_ASSIGN_OR_RETURN(auto hits, db->Search("notes", {.text = "overheating", .where = "site = 'A'"}));
  for (const auto& hit : hits) std::cout << hit.id << " " << hit.distance << " " << hit.body << "\n";
  return db->Close();
}

int main() {
  const foreshore::Status status = Run();
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
