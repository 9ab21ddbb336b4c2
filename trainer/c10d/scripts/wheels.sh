# Sourced: how wheels are brought from PyPI. (fetch-libtorch.sh has its own way, as it also goes out alone.)
# shellcheck shell=bash
cache="${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/lockstep}"
python="${PYTHON:-python3}"

say() { echo "$(basename "$0" .sh): $*" >&2; }
die() {
  say "error: $1"
  shift
  for hint in "$@"; do say "  $hint"; done
  exit 1
}

# wheel REQUIREMENT SHA256 FOLDER: downloads it into FOLDER, which must hold no other, and prints its path
wheel() {
  local requirement=$1 sha256=$2 folder=$3 pip="$python -m pip"
  command -v "$python" >/dev/null || die "Python 3 is needed for the download, and '$python' is not on the PATH" \
    "install it (Debian: apt install python3 python3-pip), or name one with PYTHON="
  if ! $python -m pip --version >/dev/null 2>&1; then
    $python -m venv "$cache/pip" || die "'$python' has no pip" "install it (Debian: apt install python3-pip)"
    pip="$cache/pip/bin/python -m pip"
  fi
  mkdir -p "$folder"
  say "downloading $requirement"
  echo "$requirement --hash=sha256:$sha256" > "$folder.txt"
  $pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_18_x86_64 --platform manylinux2014_x86_64 \
    --dest "$folder" --requirement "$folder.txt" >&2 ||
    die "pip could not download $requirement (its reason is above)" \
      "without a network: copy $cache from a machine that has what this script makes"
  rm "$folder.txt"
  echo "$folder"/*.whl
}
