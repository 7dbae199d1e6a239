#include "bindings/c/call.h"

namespace foreshore::c {

int32_t Report(const Status& status, foreshore_error* error) noexcept {
  const auto code = static_cast<int32_t>(status.code());
  if (error == nullptr) return code;
  error->code = code;
  std::size_t size_bytes = std::min(status.message().size(), sizeof error->message - 1);
  if (size_bytes < status.message().size()) {
    // Not in the middle of a character: back to the start of the one that is cut.
    while (size_bytes > 0 && (static_cast<unsigned char>(status.message()[size_bytes]) & 0xC0) == 0x80) --size_bytes;
  }
  std::memcpy(error->message, status.message().data(), size_bytes);
  error->message[size_bytes] = '\0';
  return code;
}

Status Require(const void* pointer, const char* argument) {
  if (pointer != nullptr) return Status::Ok();
  return Status::InvalidArgument(std::string("argument \"") + argument + "\" is NULL, expected a value");
}

Status CopyOut(std::string_view text, char** out, size_t* size_bytes) {
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr)
    return Status::Limit("memory: none left for a result of " + std::to_string(text.size()) + " bytes");
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  *out = copy;
  if (size_bytes != nullptr) *size_bytes = text.size();
  return Status::Ok();
}

}  // namespace foreshore::c

int32_t foreshore_abi_version(void) {
  return FORESHORE_ABI_VERSION;
}

const char* foreshore_version(void) {
  return FORESHORE_VERSION;
}

const char* foreshore_code_name(int32_t code) {
  if (code < FORESHORE_OK || code > FORESHORE_INTERNAL) return "unknown";
  // The names are literals, so they end in NUL.
  return foreshore::ErrorCodeName(static_cast<foreshore::ErrorCode>(code)).data();
}

void foreshore_free(void* memory) {
  std::free(memory);
}
