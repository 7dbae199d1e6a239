#include "engine/query/row_fields.h"

namespace foreshore {

// Many cursors are opened for one row and never asked for a field. Where memory runs out half-way it is done again: the
// tokens come last, as they say that it was done.
void RowFields::Prepare() {
  for (std::size_t i = 0; i < keys_.size(); ++i) numbers_.emplace(keys_[i], static_cast<int>(i));
  tokens_.resize(keys_.size());
}

void RowFields::SetBody(std::string_view body) {
  for (const std::size_t number : filled_) tokens_[number] = {};
  filled_.clear();
  members_ = JsonMembers(body);
  position_ = 0;
  at_end_ = body.empty();
}

int RowFields::NumberOf(std::string_view key, std::size_t position) {
  if (position < seen_.size() && seen_[position].key == key) return seen_[position].number;
  const auto found = numbers_.find(key);
  const int number = found == numbers_.end() ? -1 : found->second;
  if (position >= kSeenMax) return number;
  if (position == seen_.size()) {
    seen_.push_back({std::string(key), number});
  } else {
    seen_[position] = {std::string(key), number};
  }
  return number;
}

std::string_view RowFields::Find(std::size_t field_number) {
  if (tokens_.size() != keys_.size()) Prepare();
  if (!tokens_[field_number].empty()) return tokens_[field_number];
  JsonMember member;
  while (!at_end_) {
    const std::string_view expected = position_ < seen_.size() ? std::string_view(seen_[position_].key) : "";
    if (!members_.NextExpecting(expected, member)) {
      at_end_ = true;
      break;
    }
    const int number = NumberOf(member.key, position_++);
    if (number < 0) continue;
    filled_.push_back(static_cast<std::size_t>(number));  // First, so that no token outlives its row without it.
    tokens_[static_cast<std::size_t>(number)] = member.value;
    if (static_cast<std::size_t>(number) == field_number) break;
  }
  return tokens_[field_number];
}

}  // namespace foreshore
