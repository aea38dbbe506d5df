#!/bin/sh
# The short run of the fuzz harnesses, 6 seconds each; `make fuzz SECONDS=600` is the long one. `make test` builds them
# where clang has its libFuzzer.
# shellcheck shell=sh
. tests/cli/tap.sh

BUILD=${BUILD:-build}
for harness in idx model picture options; do
    if [ -x "$BUILD/fuzz/tests/fuzz/fuzz_$harness" ]; then
        check "no finding: $harness" sh tests/fuzz/run.sh 6 $harness
        check_grep "^$harness: [1-9][0-9]{2,} executions" "$TMP/out" "hundreds of executions: $harness"
    else
        skip "no finding: $harness" 'the harnesses are not built: no clang with libFuzzer, or an instrumented build'
    fi
done
tap_done
