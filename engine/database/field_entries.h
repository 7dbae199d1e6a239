// The entries that a document has in its collection's secondary indexes. All indexed paths are found in one walk over
// the document.
//
// An entry's value is empty, or one mark for each path of the index: what a reader of the key alone cannot know.
//
// Threads: IndexedPaths is immutable; EntryList belongs to one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/field_index.h"

namespace foreshore {

enum class FieldMark : std::uint8_t {  // Stored: never renumber.
  kPlain = 0,
  kReal = 1,      // The number is integral and REAL.
  kDocument = 2,  // Only the document has the whole value: a text that was cut, an array or object, -0.0.
  kFailed = 3,    // Of a predictive index: NULL because there is no prediction of the document.
};

// The tokens of the indexed paths of one document; empty where absent.
using FieldTokens = std::vector<std::string_view>;

// The distinct paths of a collection's indexes, arranged for one walk.
class IndexedPaths {
 public:
  IndexedPaths() = default;
  explicit IndexedPaths(std::span<const FieldIndexDefinition> indexes);

  // Sets `tokens`, which point into `body`: a normalised object, or empty.
  void Find(std::string_view body, FieldTokens& tokens) const;
  // Places in the tokens: of the paths of the index at `index_number`, and of its predicate's terms.
  std::span<const std::uint16_t> slots(std::size_t index_number) const { return index_slots_[index_number]; }
  std::span<const std::uint16_t> predicate_slots(std::size_t index_number) const {
    return predicate_slots_[index_number];
  }

 private:
  struct Node {
    std::string key;  // JSON string token; empty at the root.
    int slot = -1;    // Where this path is indexed.
    std::vector<std::uint16_t> children;
  };
  std::uint16_t SlotOf(std::string_view path);
  void Walk(std::string_view object, const Node& node, FieldTokens& tokens) const;

  std::vector<Node> nodes_;
  std::uint16_t slot_count_ = 0;
  std::vector<std::vector<std::uint16_t>> index_slots_;
  std::vector<std::vector<std::uint16_t>> predicate_slots_;
};

// Appends the value of a token (empty: absent) as a key holds it.
FieldMark AppendTokenKey(ByteString& key, std::string_view token, std::string& buffer);

// The same without cutting texts: keys of this kind order documents whose entries share a text that was cut.
void AppendWholeTokenKey(ByteString& key, std::string_view token, std::string& buffer);

// Entries that lie one behind the other in one run of bytes.
class EntryList {
 public:
  struct Entry {
    std::uint32_t offset;  // Of the key; the value follows it.
    std::uint16_t key_bytes;
    std::uint8_t value_bytes;
    bool is_removal;
  };

  void Clear() {
    bytes_.clear();
    entries_.clear();
  }
  bool empty() const { return entries_.empty(); }
  std::size_t size_bytes() const { return bytes_.size() + entries_.size() * sizeof(Entry); }
  std::span<Entry> entries() { return entries_; }
  std::span<const Entry> entries() const { return entries_; }
  Bytes key(const Entry& entry) const { return Bytes(bytes_).substr(entry.offset, entry.key_bytes); }
  Bytes value(const Entry& entry) const {
    return Bytes(bytes_).substr(entry.offset + entry.key_bytes, entry.value_bytes);
  }
  // A copy of an entry of another list.
  void Add(const EntryList& from, const Entry& entry, bool is_removal);

  // Adds the entries of one document in the index at `index_number` of `paths`; none where the predicate does not hold.
  // Entries of one call are distinct.
  void AddDocument(const FieldIndexDefinition& index, const IndexedPaths& paths, std::size_t index_number,
                   const FieldTokens& tokens, std::int64_t docid, bool is_removal);

 private:
  void AddElements(const FieldIndexDefinition& index, std::span<const std::uint16_t> slots, const FieldTokens& tokens,
                   std::int64_t docid, bool is_removal);
  // `element` stands for the value of the path with elements.
  void AddEntry(const FieldIndexDefinition& index, std::span<const std::uint16_t> slots, const FieldTokens& tokens,
                std::string_view element, std::int64_t docid, bool is_removal);

  ByteString bytes_;
  std::vector<Entry> entries_;
  std::string buffer_;
};

// Calls `visit` with the token of each element where `token` is an array, or a string whose text is one, as SQL's JSON
// functions read it.
void ForEachElement(std::string_view token, const std::function<void(std::string_view element)>& visit);

}  // namespace foreshore
