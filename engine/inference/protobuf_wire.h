// Fields of one Protobuf message, forward, over borrowed bytes.
// Wire format: https://protobuf.dev/programming-guides/encoding.
//
// Every read is bounded; after the first that does not fit, ok() is false and reads return zero or empty.
// Threads: one reader, one thread.
#pragma once

#include <cstdint>

#include "foreshore/bytes.h"
#include "storage/base/coding.h"

namespace foreshore {

enum class WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kGroup = 3, kGroupEnd = 4, kFixed32 = 5 };

class ProtobufReader {
 public:
  static constexpr int kGroupDepthMax = 32;

  explicit ProtobufReader(Bytes message) : reader_(message) {}

  // Steps to the next field; false at the end and after an error.
  bool Next() {
    if (!reader_.ok() || reader_.at_end()) return false;
    const std::uint64_t tag = reader_.VarintAtMost(0xFFFFFFFF);
    field_ = static_cast<std::uint32_t>(tag >> 3);
    type_ = static_cast<WireType>(tag & 7);
    if (field_ == 0 || (tag & 7) > 5) reader_.Fail();
    return reader_.ok();
  }
  std::uint32_t field() const { return field_; }
  WireType type() const { return type_; }
  bool ok() const { return reader_.ok(); }
  std::size_t offset() const { return reader_.offset(); }

  // The field's value; an error where the field has another wire type.
  std::uint64_t Varint() { return Expect(WireType::kVarint) ? reader_.Varint() : 0; }
  float Float() { return Expect(WireType::kFixed32) ? reader_.Fixed<float>() : 0.0F; }
  Bytes Message() { return Expect(WireType::kBytes) ? reader_.Prefixed() : Bytes(); }

  // Passes over a field of any type.
  void Skip() { SkipValue(field_, type_, 0); }

  // Calls append(value) for each varint of a repeated field, packed or not.
  template <typename Append>
  void EachVarint(Append append) {
    if (type_ == WireType::kVarint) return append(reader_.Varint());
    ByteReader packed(Message());
    while (packed.ok() && !packed.at_end()) append(packed.Varint());
    if (!packed.ok()) reader_.Fail();
  }
  // The same for values of fixed width.
  template <typename T, typename Append>
  void EachFixed(Append append) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);
    if (type_ == (sizeof(T) == 4 ? WireType::kFixed32 : WireType::kFixed64)) return append(reader_.Fixed<T>());
    ByteReader packed(Message());
    while (packed.ok() && !packed.at_end()) append(packed.Fixed<T>());
    if (!packed.ok()) reader_.Fail();
  }
  void Fail() { reader_.Fail(); }

 private:
  bool Expect(WireType type) {
    if (type_ != type) reader_.Fail();
    return type_ == type;
  }
  void SkipValue(std::uint32_t field, WireType type, int depth) {
    switch (type) {
      case WireType::kVarint: reader_.Varint(); break;
      case WireType::kFixed64: reader_.Take(8); break;
      case WireType::kBytes: reader_.Prefixed(); break;
      case WireType::kFixed32: reader_.Take(4); break;
      case WireType::kGroup: SkipGroup(field, depth + 1); break;
      case WireType::kGroupEnd: reader_.Fail(); break;
    }
  }
  void SkipGroup(std::uint32_t group_field, int depth) {
    if (depth > kGroupDepthMax) return reader_.Fail();
    while (reader_.ok()) {
      const std::uint64_t tag = reader_.VarintAtMost(0xFFFFFFFF);
      const auto field = static_cast<std::uint32_t>(tag >> 3);
      if (!reader_.ok() || field == 0 || (tag & 7) > 5) return reader_.Fail();
      const auto type = static_cast<WireType>(tag & 7);
      if (type == WireType::kGroupEnd) {
        if (field != group_field) reader_.Fail();
        return;
      }
      SkipValue(field, type, depth);
    }
  }

  ByteReader reader_;
  std::uint32_t field_ = 0;
  WireType type_ = WireType::kVarint;
};

}  // namespace foreshore
