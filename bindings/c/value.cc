// Values of SQL between the two interfaces.
#include "bindings/c/call.h"

namespace foreshore::c {

Result<SqlValue> FromValue(const foreshore_value& value) {
  switch (value.type) {
    case FORESHORE_NULL: return SqlValue{};
    case FORESHORE_INTEGER: return SqlValue{value.integer};
    case FORESHORE_REAL: return SqlValue{value.real};
    case FORESHORE_TEXT:
    case FORESHORE_BLOB: {
      if (value.data == nullptr && value.data_bytes > 0) return Require(nullptr, "value.data");
      std::string bytes(value.data == nullptr ? "" : value.data, value.data_bytes);
      if (value.type == FORESHORE_TEXT) return SqlValue{std::move(bytes)};
      return SqlValue{SqlBlob{std::move(bytes)}};
    }
    default: break;
  }
  return Status::InvalidArgument("value: type is " + std::to_string(value.type) + ", expected 0 to 4");
}

foreshore_value ToValue(const SqlValue& value) {
  foreshore_value out = {};
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    out.type = FORESHORE_INTEGER;
    out.integer = *integer;
  } else if (const auto* real = std::get_if<double>(&value)) {
    out.type = FORESHORE_REAL;
    out.real = *real;
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    out.type = FORESHORE_TEXT;
    out.data = text->c_str();
    out.data_bytes = text->size();
  } else if (const auto* blob = std::get_if<SqlBlob>(&value)) {
    out.type = FORESHORE_BLOB;
    out.data = blob->bytes.c_str();
    out.data_bytes = blob->bytes.size();
  }
  return out;
}

}  // namespace foreshore::c
