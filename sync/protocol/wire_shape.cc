#include "sync/protocol/wire_shape.h"

#include <array>
#include <string>
#include <vector>

#include "storage/base/coding.h"
#include "sync/protocol/limits.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kWireVarint = 0;
constexpr std::uint64_t kWireFixed64 = 1;
constexpr std::uint64_t kWireLength = 2;
constexpr std::uint64_t kWireFixed32 = 5;

class Walker {
 public:
  explicit Walker(std::size_t budget) : budget_(budget) {}

  Status Walk(Bytes wire, const MessageShape& shape, int depth) {
    if (depth > kMessageDepthMax) return Status::Limit("sync message: nested more than 32 deep");
    std::vector<std::uint32_t> counts(shape.fields.size(), 0);
    std::uint32_t unknown_count = 0;
    ByteReader reader(wire);
    while (!reader.at_end()) {
      if (budget_-- == 0) return Status::Limit("sync message: too many fields");
      std::uint64_t tag = reader.Varint();
      Bytes content;
      if (!TakeField(reader, tag & 7, content) || tag >> 3 == 0 || tag >> 3 > 0x1FFF'FFFF) return Broken(shape);
      const FieldShape* field = nullptr;
      for (std::size_t i = 0; i < shape.fields.size(); ++i) {
        if (shape.fields[i].number != tag >> 3) continue;
        field = &shape.fields[i];
        if (++counts[i] > field->count_max) {
          return Status::Limit(std::string("sync message: ") + shape.name + " has more than " +
                               std::to_string(field->count_max) + " times field " + std::to_string(field->number));
        }
      }
      if (field == nullptr && ++unknown_count > kUnknownFieldCountMax) {
        return Status::Limit(std::string("sync message: ") + shape.name + " has too many unknown fields");
      }
      if (field != nullptr && field->nested != nullptr) {
        if ((tag & 7) != kWireLength) return Broken(shape);
        FORESHORE_RETURN_IF_ERROR(Walk(content, *field->nested, depth + 1));
      }
    }
    return reader.ok() ? Status::Ok() : Broken(shape);
  }

 private:
  static bool TakeField(ByteReader& reader, std::uint64_t wire_type, Bytes& content) {
    switch (wire_type) {
      case kWireVarint: reader.Varint(); break;
      case kWireFixed64: reader.Take(8); break;
      case kWireLength: content = reader.Prefixed(); break;
      case kWireFixed32: reader.Take(4); break;
      default:  // Groups are not used, and would nest without a length.
        return false;
    }
    return reader.ok();
  }
  static Status Broken(const MessageShape& shape) {
    return Status::Corruption(std::string("sync message: ") + shape.name + " is not protobuf");
  }

  std::size_t budget_;
};

}  // namespace

Status CheckShape(Bytes wire, const MessageShape& shape, std::size_t field_count_max) {
  return Walker(field_count_max).Walk(wire, shape, 0);
}

}  // namespace foreshore
