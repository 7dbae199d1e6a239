// What every call that can fail returns: a code for programs and one line for people.
//
// A message names the object, what was found and what was expected, in lower case with no full stop:
//   vector index "notes.embedding": query has 384 dimensions, index has 256
//
// Threads: values; no sharing.
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace foreshore {

// Codes are part of the C ABI: never renumber one.
enum class ErrorCode : std::uint8_t {
  kOk = 0,
  kNotFound = 1,         // The named object does not exist.
  kAlreadyExists = 2,    // The named object exists and must not.
  kInvalidArgument = 3,  // The caller's input is malformed or does not fit the object.
  kLimit = 4,            // The input is well formed and larger than a documented limit.
  kCorruption = 5,       // Stored or received bytes contradict their format or checksum.
  kIo = 6,               // The operating system refused a read, write or sync.
  kNoSpace = 7,          // The disk is full; nothing was committed.
  kBusy = 8,             // Another holder has the object; trying again may succeed.
  kConflict = 9,         // The state the caller relied on has changed.
  kUnsupported = 10,     // Well formed, and not something this build can do.
  kNetwork = 11,         // The peer was not reached or went away; trying again may succeed.
  kUnauthorised = 12,    // The peer refused the credentials.
  kCancelled = 13,       // The caller asked to stop.
  kInternal = 14,        // A mistake of this library.
};

// The code's name as text, for logs and the JSON output, such as "not_found".
std::string_view ErrorCodeName(ErrorCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {
    assert(code != ErrorCode::kOk);
  }

  static Status Ok() { return {}; }
  static Status NotFound(std::string message) { return {ErrorCode::kNotFound, std::move(message)}; }
  static Status AlreadyExists(std::string message) { return {ErrorCode::kAlreadyExists, std::move(message)}; }
  static Status InvalidArgument(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }
  static Status Limit(std::string message) { return {ErrorCode::kLimit, std::move(message)}; }
  static Status Corruption(std::string message) { return {ErrorCode::kCorruption, std::move(message)}; }
  static Status Io(std::string message) { return {ErrorCode::kIo, std::move(message)}; }
  static Status NoSpace(std::string message) { return {ErrorCode::kNoSpace, std::move(message)}; }
  static Status Busy(std::string message) { return {ErrorCode::kBusy, std::move(message)}; }
  static Status Conflict(std::string message) { return {ErrorCode::kConflict, std::move(message)}; }
  static Status Unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }
  static Status Network(std::string message) { return {ErrorCode::kNetwork, std::move(message)}; }
  static Status Unauthorised(std::string message) { return {ErrorCode::kUnauthorised, std::move(message)}; }
  static Status Cancelled(std::string message) { return {ErrorCode::kCancelled, std::move(message)}; }
  static Status Internal(std::string message) { return {ErrorCode::kInternal, std::move(message)}; }

  bool ok() const { return code_ == ErrorCode::kOk; }
  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // "code_name: message", or "ok".
  std::string ToString() const;

  // The same code with `context` and ": " put before the message; ok stays ok.
  Status WithContext(std::string_view context) const;

  // Says on purpose that a failure here changes nothing for the caller. Greppable.
  void IgnoreError() const {}

 private:
  ErrorCode code_ = ErrorCode::kOk;
  std::string message_;
};

// Either a value or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: returning a value is the common case.
  Result(Status status) : status_(std::move(status)) {  // NOLINT
    assert(!status_.ok() && "a Result without a value needs an error");
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  T& value() & {
    assert(ok());
    return *value_;
  }
  const T& value() const& {
    assert(ok());
    return *value_;
  }
  T&& value() && {
    assert(ok());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace foreshore

// Returns from the enclosing function when the expression is not ok.
#define FORESHORE_RETURN_IF_ERROR(expression)                                            \
  do {                                                                                   \
    if (::foreshore::Status foreshore_status_ = (expression); !foreshore_status_.ok()) { \
      return foreshore_status_;                                                          \
    }                                                                                    \
  } while (false)

#define FORESHORE_CONCAT_INNER_(a, b) a##b
#define FORESHORE_CONCAT_(a, b) FORESHORE_CONCAT_INNER_(a, b)

// FORESHORE_ASSIGN_OR_RETURN(auto document, collection.Get(id));
#define FORESHORE_ASSIGN_OR_RETURN(declaration, expression) \
  FORESHORE_ASSIGN_OR_RETURN_(FORESHORE_CONCAT_(foreshore_result_, __LINE__), declaration, expression)
#define FORESHORE_ASSIGN_OR_RETURN_(result, declaration, expression) \
  auto result = (expression);                                        \
  if (!result.ok()) return result.status();                          \
  declaration = std::move(result).value()
