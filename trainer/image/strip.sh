#!/usr/bin/env bash
# Takes the debug data out of programs, into files beside them that debuggers and backtraces find.
#   trainer/image/strip.sh TO PROGRAM...     writes TO/PROGRAM and TO/PROGRAM.debug
set -euo pipefail
to=${1:?where to}
shift
mkdir -p "$to"
for program in "$@"; do
  name=$(basename "$program")
  objcopy --only-keep-debug "$program" "$to/$name.debug"
  chmod -x "$to/$name.debug"
  # Under another name first: a program that runs can't be written to.
  objcopy --strip-all --add-gnu-debuglink="$to/$name.debug" "$program" "$to/.$name"
  mv "$to/.$name" "$to/$name"
done
