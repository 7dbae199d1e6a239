#!/usr/bin/env bash
# Installs what building and testing need, on Debian 12 or later. Idempotent: does nothing when all is there.
# Needs root or sudo only when a package is missing.
#
#   scripts/setup.sh [arm64|fuzz|tidy]   also what scripts/test_arm64.sh, scripts/fuzz.sh or scripts/lint.sh --tidy needs
set -euo pipefail

packages=(
  build-essential cmake ninja-build pkg-config git ca-certificates ccache xz-utils
  libsqlite3-dev librocksdb-dev libhnswlib-dev libprotobuf-dev protobuf-compiler libsimdjson-dev libzstd-dev zlib1g-dev
  libcurl4-openssl-dev libboost-dev libssl-dev libutf8proc-dev libjpeg62-turbo-dev libpng-dev libedit-dev libcli11-dev
  doctest-dev librapidcheck-dev libsimde-dev libonnx-testdata
  python3 python3-venv
  clang-format-14
)

case ${1:-} in
  "") ;;
  arm64) packages+=(g++-aarch64-linux-gnu qemu-user) ;;
  fuzz) packages+=(clang-16 libclang-rt-16-dev) ;;
  tidy) packages+=(clang-tidy-14) ;;
  *) echo "setup: found \"$1\", expected arm64, fuzz, tidy or nothing" >&2; exit 2 ;;
esac

say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  say "this machine has no apt-get; on other systems install the equivalents of: ${packages[*]}"
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  say "all ${#packages[@]} packages are installed"
  exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null; then
  as_root=(sudo)
else
  say "missing packages: ${missing[*]}"
  say "found an ordinary user without sudo, expected root or sudo; as root run: apt-get install ${missing[*]}"
  exit 1
fi

say "installing ${#missing[@]} of ${#packages[@]} packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Another apt may hold the lock for a while on a machine that has just started.
options=(-q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
if ! "${as_root[@]}" apt-get update "${options[@]}" >"$log" 2>&1; then
  cat "$log" >&2
  say "apt-get update failed; is there a network?"
  exit 1
fi
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${options[@]}" "${missing[@]}" >"$log" 2>&1; then
  tail -40 "$log" >&2
  say "apt-get install failed"
  exit 1
fi
say "done"
