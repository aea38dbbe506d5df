#!/bin/sh
# TAP tests of the tests: the readers of CSV and JSON in tap.sh, and tests/run.sh on suites that hang, fail, leave processes
# behind. From the root of the repository:
#   sh tests/cli/runner.sh
# shellcheck disable=SC2317 # functions are only called through check

. tests/cli/tap.sh

# ---- CSV and JSON -------------------------------------------------------------------------------------------------------

is() { [ "$1" = "$2" ] || { echo "found: $1, not: $2" && return 1; }; } # FOUND EXPECTED
printf '# a, comment\nname,"of, more",n\n"say ""a"", b",x,1\nlast,"two\nlines",02\n' >"$TMP/t.csv"
check 'CSV: a cell with a comma and quotes' is "$(csv_cell "$TMP/t.csv" 1 name)" 'say "a", b'
check 'CSV: a cell with a line end' is "$(csv_cell "$TMP/t.csv" 2 n)" 02
check 'CSV: texts, not numbers, are compared' [ -z "$(csv_find "$TMP/t.csv" n=2 name)" ]
check_status 1 'CSV: no such column' csv_rows "$TMP/t.csv" nme
check_grep 't.csv: there is no column nme' "$TMP/err" '... is told'
check_status 1 'CSV: no such row' csv_cell "$TMP/t.csv" 3 n
echo '{"title": "x, \"y\"", "rows": [{"a": 1, "b": null}, {"b": "t", "a": -2.5e-3}], "notes": [], "o": {}, "t": true}' >"$TMP/t.json"
check 'JSON: rows' is "$(json_rows "$TMP/t.json" b,a)" "$(printf '\t1\nt\t-2.5e-3')"
check 'JSON: one value' is "$(json_value "$TMP/t.json" title)" 'x, "y"'
check 'JSON: all values' is "$(json_lines "$TMP/t.json" | wc -l | tr -d ' ')" 8
check_status 1 'JSON: a column that is not there' json_rows "$TMP/t.json" a,c
for bad in '{"a": 1,}' '[1 2]' '{"a" 1}' '"a' '01' '1.' 'nan' '{a: 1}' '["\q"]' '["\u12"]' '[1]]' ''; do
    echo "$bad" >"$TMP/bad.json"
    check_status 1 "JSON: not $bad" json_lines "$TMP/bad.json"
done

# ---- the runner ---------------------------------------------------------------------------------------------------------

unset TEST TEST_JOBS
timeout -k 1 1 true 2>/dev/null || {
    skip 'the runner of tests' 'there is no timeout that takes -k'
    tap_done
}
mkdir -p "$TMP/tree/tests/cli" "$TMP/tree/scripts" "$TMP/tree/build"
cp tests/run.sh "$TMP/tree/tests"
echo 'exit 3' >"$TMP/tree/scripts/fetch_mnist.sh"
cd "$TMP/tree" || exit 1
suite() { cat >"tests/cli/$1.sh"; }
run() { TMPDIR=$TMP TEST_LIMIT_S=2 sh tests/run.sh; }
gone() { # FILE with a process's number
    for _ in 1 2 3 4 5; do
        kill -0 "$(cat "$1")" 2>/dev/null || return 0
        ! grep -q '^State:.Z' "/proc/$(cat "$1")/status" 2>/dev/null || return 0 # dead, but nobody waits for it
        sleep 0.2
    done
    return 1
}

suite good <<'END'
echo 'ok 1 - one'
echo 'ok 2 - two # SKIP no reason'
echo 1..2
END
check 'a good suite: passes' run
check_grep '^cli/good +1 passed, 1 skipped ' "$TMP/out" '... with its counts'
check_grep '^1 passed, 0 failed, 1 skipped$' "$TMP/out" '... and the sum'

suite hangs <<'END'
sleep 600 &
echo $! >child
echo 'ok 1 - one'
sleep 600
END
suite leaves <<'END'
sleep 600 >/dev/null 2>&1 &
echo $! >left
echo 'ok 1 - one'
echo 1..1
END
suite fails <<'END'
echo 'not ok 1 - one'
echo '# because'
echo 1..1
exit 1
END
suite short <<'END'
echo 'ok 1 - one'
echo 1..2
END
suite alone <<'END'
# RUN ALONE
[ -e left ] && [ ! -e done ] && echo 'ok 1 - after the others'
echo 1..1
END
check_status 1 'suites that hang, leave a process, fail, stop short' run
cp "$TMP/out" "$TMP/told"
check_grep 'ran out of time' "$TMP/told" 'hanging is told'
check '... and its child is gone' gone child
check_grep 'a process that it started still ran after it' "$TMP/told" 'a process left behind is told'
check '... and gone' gone left
check_grep '^ +# because' "$TMP/told" 'what a failing test said is told'
check_grep 'ran 1 of 2 tests' "$TMP/told" 'a suite that stops short fails'
check_grep '^cli/alone +1 passed ' "$TMP/told" 'one that asks for it runs after the others'
check_grep '^5 passed, 4 failed, 1 skipped$' "$TMP/told" 'the sum counts all'
TEST=good
export TEST
check 'TEST=good runs that one' run
check_grep '^1 passed, 0 failed, 1 skipped$' "$TMP/out" '... only'
TEST=none
check_status 1 'TEST=none' run
check_grep 'no suite is called [*]none[*]' "$TMP/out" '... says that there is none'
check 'nothing is left in TMPDIR' [ -z "$(find "$TMP" -name 'mnistq-test*')" ]
tap_done
