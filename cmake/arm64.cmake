# Cross-compiling for ARM64 with Debian's compiler, and running what was made under QEMU. FORESHORE_ARM64_SYSROOT in the
# environment: where scripts/fetch.sh arm64-libraries has unpacked the libraries.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

if(NOT DEFINED ENV{FORESHORE_ARM64_SYSROOT} OR NOT EXISTS "$ENV{FORESHORE_ARM64_SYSROOT}/usr/lib/aarch64-linux-gnu")
  message(FATAL_ERROR "FORESHORE_ARM64_SYSROOT is \"$ENV{FORESHORE_ARM64_SYSROOT}\", expected the folder of "
    "scripts/fetch.sh arm64-libraries; run scripts/test_arm64.sh")
endif()
set(sysroot $ENV{FORESHORE_ARM64_SYSROOT})
set(CMAKE_FIND_ROOT_PATH ${sysroot})
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# OpenSSL has a header for each architecture. Headers of libraries without code of their own are this machine's.
set(CMAKE_C_FLAGS_INIT "-isystem ${sysroot}/usr/include/aarch64-linux-gnu")
set(CMAKE_CXX_FLAGS_INIT "-isystem ${sysroot}/usr/include/aarch64-linux-gnu")
set(ENV{PKG_CONFIG_LIBDIR} ${sysroot}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${sysroot})
# QEMU_CPU in the environment says which processor.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
