#include "engine/database/fields.h"

#include <string>

#include "engine/document/json.h"
#include "engine/document/json_walk.h"

namespace foreshore {
void ForEachTopLevelKey(std::string_view body, const std::function<void(std::string_view key)>& visit) {
  JsonMembers members(body);
  for (JsonMember member; members.Next(member);) {
    const std::string_view token = member.key;
    if (token.find('\\') == std::string_view::npos) {
      visit(token.substr(1, token.size() - 2));
    } else if (const auto key = UnescapeString(token); key.ok()) {
      visit(*key);
    }
  }
}

}  // namespace foreshore
