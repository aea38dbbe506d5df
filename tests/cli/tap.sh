# TAP for the tests of the command line, to be sourced: . tests/cli/tap.sh
# A test prints "ok N - name" or "not ok N - name", diagnostics go to stderr as "# ...".
#
#   check NAME COMMAND...                  passes when COMMAND succeeds
#   check_status STATUS NAME COMMAND...    passes when COMMAND exits with STATUS
#   check_grep PATTERN FILE NAME           passes when a line of FILE matches (grep -E)
#   check_no_grep PATTERN FILE NAME        passes when FILE is there and no line of it matches
#   skip NAME WHY                          counted, and visible
#   tap_program                            sets BUILD (absolute) and mnistq, the program under test
#   make_digits FOLDER TRAIN TEST ...      built-in digits as IDX files, by tests/make_idx
#   tap_bail WHY                           the rest makes no sense
#   tap_done                               the last line of every test: the plan, and the exit status
#
# and to read what the program wrote, with nothing but awk:
#   csv_rows FILE [COLUMN,...]             the cells of these columns, or all, tab-separated, without the header
#   csv_cell FILE ROW COLUMN               one cell; ROW from 1
#   csv_find FILE COLUMN=VALUE,... COLUMN  the cell of the rows that have these texts
#   json_lines FILE                        "rows[0].format<TAB>int8", a line for each value; fails when it is not JSON
#   json_value FILE PATH                   one value
#   json_rows FILE COLUMN,...              the cells of "rows", as csv_rows prints them
#
# The output of the last COMMAND is in $TMP/out and $TMP/err. $TMP is removed on exit; a file that
# should clean up more defines tap_cleanup. COMMAND may be a shell function; it runs in this shell.
# shellcheck shell=sh

tap_count=0
tap_failed=0
tap_ended=no
TMP=$(mktemp -d "${TMPDIR:-/tmp}/mnistq.XXXXXX") || exit 1

tap_cleanup() { :; }

tap_on_exit() { # a test that stops before tap_done has failed
    tap_status=$?
    tap_cleanup
    rm -rf "$TMP"
    [ $tap_ended = yes ] || {
        echo "Bail out! ended early, after test $tap_count"
        exit 1
    }
    exit $tap_status
}
trap tap_on_exit EXIT
trap 'exit 130' HUP INT TERM

tap_bail() {
    echo "# $*" >&2
    exit 1
}

tap_program() {
    BUILD=${BUILD:-build}
    case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
    mnistq=$BUILD/mnistq
    [ -x "$mnistq" ] || tap_bail "$mnistq: not there (make builds it)"
}

make_digits() { "$BUILD/tests/make_idx" "$@" || tap_bail "$BUILD/tests/make_idx does not work"; }

tap_show() { # FILE...: the head of each, as diagnostics
    for tap_file; do
        [ -s "$tap_file" ] || continue
        echo "# ${tap_file##*/}:"
        sed -n '1,20s/^/#   /p' "$tap_file"
    done >&2
}

tap_pass() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1"
}

tap_fail() { # NAME WHY FILE...
    tap_count=$((tap_count + 1))
    tap_failed=$((tap_failed + 1))
    echo "not ok $tap_count - $1"
    echo "# $2" >&2
    shift 2
    tap_show "$@"
}

skip() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # SKIP $2"
}

check_status() {
    tap_want=$1
    tap_name=$2
    shift 2
    "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
    tap_got=$?
    if [ "$tap_got" -eq "$tap_want" ]; then
        tap_pass "$tap_name"
    else
        tap_fail "$tap_name" "exit status $tap_got, not $tap_want: $*" "$TMP/out" "$TMP/err"
    fi
}

check() { check_status 0 "$@"; }

check_grep() {
    if grep -E -q -e "$1" "$2" 2>/dev/null; then
        tap_pass "$3"
    else
        tap_fail "$3" "no line of $2 matches: $1" "$2"
    fi
}

check_no_grep() {
    if [ -f "$2" ] && ! grep -E -q -e "$1" "$2"; then
        tap_pass "$3"
    else
        tap_fail "$3" "a line of $2 matches, or it is not there: $1" "$2"
    fi
}

tap_root=$PWD
csv_rows() { awk -v columns="${2-}" -f "$tap_root/scripts/csv.awk" "$1"; }
csv_cell() { awk -v row="$2" -v columns="$3" -f "$tap_root/scripts/csv.awk" "$1"; }
csv_find() { awk -v where="$2" -v columns="$3" -f "$tap_root/scripts/csv.awk" "$1"; }
json_lines() { awk -f "$tap_root/tests/cli/json.awk" "$1"; }
json_value() { json_lines "$1" | awk -F '\t' -v path="$2" '$1 == path { print $2; found = 1 } END { exit !found }'; }
json_rows() {
    json_lines "$1" >"$TMP/json_lines" && awk -F '\t' -v columns="$2" '
        BEGIN { n = split(columns, column, ",") }
        /^rows\[/ { row = $1; sub(/^rows\[/, "", row); sub(/\].*/, "", row); sub(/^[^.]*[.]/, "", $1)
                    cell[row, $1] = $2 == "null" ? "" : $2; here[row, $1]; if (row + 1 > rows) rows = row + 1 }
        END { for (r = 0; r < rows; r++) for (i = 1; i <= n; i++) {
                  if (!((r, column[i]) in here)) exit 1
                  printf "%s%s", cell[r, column[i]], (i < n ? "\t" : "\n") }
              exit !rows }' "$TMP/json_lines"
}

tap_done() {
    tap_ended=yes
    echo "1..$tap_count"
    if [ $tap_failed -gt 0 ]; then echo "# $tap_failed of $tap_count failed" >&2; fi
    [ $tap_count -gt 0 ] && [ $tap_failed -eq 0 ]
    exit $?
}
