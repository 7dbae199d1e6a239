#include "engine/document/registers.h"

#include <algorithm>
#include <span>
#include <tuple>

#include "engine/document/json.h"
#include "engine/document/registers_internal.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

// Bytes compare unsigned, but the separator comes before all, so that what is below a path follows it at once.
bool IsBeforeInTree(std::string_view a, std::string_view b) {
  const auto rank = [](char c) {
    return c == kPathSeparator ? 0 : static_cast<int>(static_cast<unsigned char>(c)) + 1;
  };
  const auto [at_a, at_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (at_a == a.end() || at_b == b.end()) return at_a == a.end() && at_b != b.end();
  return rank(*at_a) < rank(*at_b);
}

// One key of an object, with the registers at and below it.
struct Child {
  std::string_view key;
  std::span<const PlacedRegister> registers;
  bool has_own = false;  // Then it is the first of `registers`.
  const Stamp* creation = nullptr;
};

// `registers` are in tree order and agree in their first `prefix_bytes` bytes, which end before a key.
std::vector<Child> ChildrenOf(std::span<const PlacedRegister> registers, std::size_t prefix_bytes) {
  std::vector<Child> children;
  for (std::size_t begin = 0, end = 0; begin < registers.size(); begin = end) {
    const std::string_view path = registers[begin].path;
    const std::size_t key_end = std::min(path.find(kPathSeparator, prefix_bytes), path.size());
    Child child;
    child.key = path.substr(prefix_bytes, key_end - prefix_bytes);
    child.has_own = key_end == path.size();
    child.creation = &registers[begin].content->creation;
    const std::string_view child_path = path.substr(0, key_end);
    for (end = begin + 1; end < registers.size() && IsAncestorPath(child_path, registers[end].path); ++end) {
      const Stamp& creation = registers[end].content->creation;
      if (!child.has_own && creation < *child.creation) child.creation = &creation;
    }
    child.registers = registers.subspan(begin, end - begin);
    children.push_back(child);
  }
  return children;
}

void AppendObject(std::string& out, std::span<const PlacedRegister> registers, std::size_t prefix_bytes) {
  std::vector<Child> children = ChildrenOf(registers, prefix_bytes);
  std::sort(children.begin(), children.end(),
            [](const Child& a, const Child& b) { return std::tie(*a.creation, a.key) < std::tie(*b.creation, b.key); });
  out += '{';
  for (const Child& child : children) {
    if (out.back() != '{') out += ',';
    AppendJsonString(out, child.key);
    out += ':';
    const auto below = child.registers.subspan(child.has_own ? 1 : 0);
    if (below.empty()) {
      out += child.registers.front().content->value;
    } else {
      AppendObject(out, below, prefix_bytes + child.key.size() + 1);
    }
  }
  out += '}';
}

void UpdatePrefixed(Sha256& hash, Bytes bytes) {
  ByteString length;
  AppendFixed<std::uint64_t>(length, bytes.size());
  hash.Update(length);
  hash.Update(bytes);
}

}  // namespace

std::vector<PlacedRegister> LiveRegistersInTreeOrder(const DocumentState& state) {
  std::vector<PlacedRegister> order;
  if (!state.alive()) return order;
  order.reserve(state.registers.size());
  for (const auto& [path, content] : state.registers) {
    if (!content.is_tombstone) order.push_back({path, &content});
  }
  std::sort(order.begin(), order.end(),
            [](const PlacedRegister& a, const PlacedRegister& b) { return IsBeforeInTree(a.path, b.path); });
  return order;
}

bool IsNewer(const Register& a, const Register& b) {
  if (a.life != b.life) return a.life > b.life;
  if (a.stamp != b.stamp) return a.stamp > b.stamp;
  const auto rank = [](const Register& content) {
    return std::tuple(Fnv1a64(content.value), content.is_tombstone, std::string_view(content.value), content.creation);
  };
  return rank(a) > rank(b);
}

bool IsHiddenByAncestor(const std::map<std::string, Register>& registers, std::string_view path, const Stamp& stamp) {
  for (std::size_t end = path.find(kPathSeparator); end != std::string_view::npos;
       end = path.find(kPathSeparator, end + 1)) {
    auto found = registers.find(std::string(path.substr(0, end)));
    if (found != registers.end() && found->second.stamp > stamp) return true;
  }
  return false;
}

const Stamp* CreationOf(const DocumentState& state, const std::string& path) {
  if (!state.alive()) return nullptr;
  auto own = state.registers.find(path);
  if (own != state.registers.end() && !own->second.is_tombstone) return &own->second.creation;
  const Stamp* oldest = nullptr;
  for (auto below = state.registers.lower_bound(path + kPathSeparator);
       below != state.registers.end() && IsAncestorPath(path, below->first); ++below) {
    const Register& content = below->second;
    if (content.is_tombstone) continue;
    if (oldest == nullptr || content.creation < *oldest) oldest = &content.creation;
  }
  return oldest;
}

std::string Materialise(const DocumentState& state) {
  std::string body;
  if (!state.alive()) return body;
  const std::vector<PlacedRegister> order = LiveRegistersInTreeOrder(state);
  std::size_t size_bytes = 2;
  for (const PlacedRegister& placed : order) size_bytes += placed.path.size() + placed.content->value.size() + 8;
  body.reserve(size_bytes);
  AppendObject(body, order, 0);
  return body;
}

std::vector<std::pair<std::string, const Register*>> VisibleRegisters(const DocumentState& state) {
  const std::vector<PlacedRegister> order = LiveRegistersInTreeOrder(state);
  std::vector<std::pair<std::string, const Register*>> visible;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (IsLeaf(order, i)) visible.emplace_back(order[i].path, order[i].content);
  }
  std::sort(visible.begin(), visible.end());
  return visible;
}

ByteString RescueId(std::string_view collection, std::string_view document_id, const std::string& path,
                    const Stamp& stamp) {
  Sha256 hash;
  UpdatePrefixed(hash, collection);
  UpdatePrefixed(hash, document_id);
  UpdatePrefixed(hash, path);
  ByteString bytes;
  AppendFixed(bytes, stamp.hlc);
  bytes.append(reinterpret_cast<const char*>(stamp.session.replica.data()), stamp.session.replica.size());
  AppendFixed(bytes, stamp.session.session);
  AppendFixed(bytes, stamp.op);
  hash.Update(bytes);
  return ByteString(AsBytes(hash.Finish()));
}

}  // namespace foreshore
