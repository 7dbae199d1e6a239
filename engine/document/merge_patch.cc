#include "engine/document/json.h"
#include "engine/document/json_walk.h"

namespace foreshore {
namespace {

void AppendMember(std::string& out, std::string_view key) {
  if (out.back() != '{') out += ',';
  out += key;
  out += ':';
}

// `document` is an object token; or empty, which is an empty object. Depth is bounded by that of the patch.
void AppendMerged(std::string& out, std::string_view document, std::string_view patch) {
  JsonMemberIndex changes(patch);
  JsonMemberIndex present(document);
  out += '{';
  for (const JsonMember& member : present.members()) {
    const JsonMember* change = changes.Find(member.key);
    if (change == nullptr) {
      AppendMember(out, member.key);
      out += member.value;
    } else if (change->value != "null") {
      AppendMember(out, member.key);
      if (IsObjectToken(change->value)) {
        AppendMerged(out, IsObjectToken(member.value) ? member.value : std::string_view("{}"), change->value);
      } else {
        out += change->value;
      }
    }
  }
  for (const JsonMember& change : changes.members()) {
    if (change.value == "null" || present.Find(change.key) != nullptr) continue;
    AppendMember(out, change.key);
    if (IsObjectToken(change.value)) {
      AppendMerged(out, "{}", change.value);
    } else {
      out += change.value;
    }
  }
  out += '}';
}

}  // namespace

Result<std::string> MergePatch(std::string_view document, std::string_view patch) {
  if (!IsObjectToken(patch)) {
    return Status::InvalidArgument("merge patch: found " + std::string(patch.substr(0, 32)) + ", expected an object");
  }
  std::string merged;
  merged.reserve(document.size() + patch.size());
  AppendMerged(merged, IsObjectToken(document) ? document : std::string_view("{}"), patch);
  // Two documents within the limits may exceed them together.
  auto checked = NormaliseDocument(merged);
  if (!checked.ok()) return checked.status().WithContext("merge patch: result");
  return checked;
}

}  // namespace foreshore
