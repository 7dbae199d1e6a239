// The top-level fields of the row that a cursor stands on. The body is walked at most once per row, and only as far as
// the fields that are asked for.
//
// Lifetime: tokens point into the body that SetBody was given. What is learnt of one scan's rows serves the next scan,
// whose first row comes by SetBody again. Threads: one at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/document/json_walk.h"

namespace foreshore {

class RowFields {
 public:
  // `keys` are JSON string tokens, and must outlive this object.
  explicit RowFields(const std::vector<std::string>& keys) : keys_(keys) {}

  // A normalised object, or empty.
  void SetBody(std::string_view body);
  // The value's token; empty where the field is absent.
  std::string_view Find(std::size_t field_number);

 private:
  void Prepare();
  // The number of the field with this key, or -1.
  int NumberOf(std::string_view key, std::size_t position);

  const std::vector<std::string>& keys_;
  std::unordered_map<std::string_view, int> numbers_;  // Filled, like tokens_, when a field is first asked for.
  std::vector<std::string_view> tokens_;               // By field number.
  std::vector<std::size_t> filled_;                    // Those of tokens_ that are set.
  // What stood at each of the first positions of earlier rows: documents of one collection mostly have their keys in
  // one order.
  static constexpr std::size_t kSeenMax = 256;
  struct Seen {
    std::string key;
    int number;
  };
  std::vector<Seen> seen_;
  JsonMembers members_{std::string_view()};
  std::size_t position_ = 0;
  bool at_end_ = true;
};

}  // namespace foreshore
