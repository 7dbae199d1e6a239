#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#ifdef __SANITIZE_THREAD__
// RocksDB's shared library is not instrumented, so the sanitizer sees its memory accesses through memcpy() and memcmp()
// and not the atomics that order them. Our own side of every call stays watched.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions();  // NOLINT
extern "C" const char* __tsan_default_suppressions() {                                        // NOLINT
  return "called_from_lib:librocksdb.so\nrace:librocksdb.so\n";
}
#endif
