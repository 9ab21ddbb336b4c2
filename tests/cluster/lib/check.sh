# Sourced by scripts that are tests: counts and reports what is checked.
# shellcheck shell=bash
passed=0 failed=0
started=$EPOCHREALTIME

elapsed() { awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $1 }"; }

# check WHAT COMMAND...: one test; its output is shown where it fails
check() {
  local what=$1 since=$EPOCHREALTIME file out status
  shift
  file=$(mktemp)
  set +e # within a condition bash would not stop the test at its first error
  # Not through a pipe: what a test that fails leaves running would hold it open, and this would wait for it.
  (set -e; "$@") >"$file" 2>&1
  status=$?
  set -e
  out=$(<"$file")
  rm "$file"
  if [[ $status == 0 ]]; then
    passed=$((passed + 1))
    echo "ok     $what ($(elapsed "$since") s)"
  else
    failed=$((failed + 1))
    echo "FAILED $what ($(elapsed "$since") s)"
    echo "       ${out//$'\n'/$'\n'       }"
  fi
}

# verdict: the last line, and success if nothing failed
verdict() {
  echo "$passed passed, $failed failed, in $(elapsed "$started") s"
  [[ $failed == 0 ]]
}
