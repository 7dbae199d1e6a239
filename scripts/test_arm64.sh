#!/usr/bin/env bash
# Cross-compiles what depends on the processor (storage/base, index, engine/inference) for ARM64 and runs its tests under
# QEMU, on a processor with the dot product instructions and on one without: both must give the results of x86-64, to
# the bit.
#
#   scripts/test_arm64.sh [--jobs N] [--no-setup] [CTEST-ARGUMENT…]
#
# What follows the options goes to ctest: scripts/test_arm64.sh -R index_kernels. Exit status 3 where the libraries for
# ARM64 could not be downloaded.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=$(nproc)
setup=yes
while [ $# -gt 0 ]; do
  case $1 in
    --jobs) jobs=${2:?--jobs needs a number}; shift 2 ;;
    --no-setup) setup=no; shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) break ;;
  esac
done

if [ "$setup" = yes ]; then
  scripts/setup.sh arm64
fi
scripts/fetch.sh arm64-libraries
FORESHORE_ARM64_SYSROOT=$(scripts/fetch.sh path arm64-libraries)
export FORESHORE_ARM64_SYSROOT
cmake --preset arm64
cmake --build build/arm64 --parallel "$jobs"
for processor in cortex-a76 cortex-a53; do
  printf '\n== tests on %s\n' "$processor"
  # Emulated they take ten times as long and more.
  QEMU_CPU=$processor ctest --test-dir build/arm64 --output-on-failure --parallel "$jobs" --no-tests=error \
    --timeout 3000 "$@"
done
