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
# Each pair: the processor, and what the test of the kernels says that it found there.
for pair in 'cortex-a76/neondot: run natively' 'cortex-a53/neondot: not on this machine'; do
  processor=${pair%%/*}
  printf '\n== tests on %s\n' "$processor"
  said=$(QEMU_CPU=$processor qemu-aarch64 -L /usr/aarch64-linux-gnu build/arm64/tests/index/index_kernels_test 2>&1) ||
    said="it failed: $said"
  if [[ $said == "it failed"* || $said != *"${pair#*/}"* ]]; then
    echo "$said" >&2
    echo "test_arm64: $processor: expected the test of the kernels to pass and to say \"${pair#*/}\"" >&2
    exit 1
  fi
  # Not MiniLM on real texts: calibrating on 600 of them keeps two cores busy for minutes without QEMU.
  QEMU_CPU=$processor ctest --test-dir build/arm64 --output-on-failure --parallel "$jobs" --no-tests=error \
    --exclude-regex "^inference_minilm_test$" "$@"
done
