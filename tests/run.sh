#!/bin/sh
# Runs every test: $BUILD/tests/test_*, and tests/cli/*.sh against $BUILD/mnistq. `make test` calls it.
#   BUILD=build TEST=fetch sh tests/run.sh     only the suites whose name contains TEST
# A line for each suite, and below it what failed and what was skipped and why. The last line is the sum.
# Every suite speaks TAP. One that crashes, runs out of time, or ran nothing or not all it promised has failed.
# Real MNIST is fetched once into data/mnist (MNIST_MIRROR is honoured); MNIST_DIR tells the tests where it is.

set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
TEST=${TEST:-}
limit_s=${TEST_LIMIT_S:-600} # a suite that takes longer hangs
HTTP_SERVER=$BUILD/tests/http_server
export BUILD HTTP_SERVER
# What a make that calls this hands down must not reach the makes and the programs that are tested.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

log=$(mktemp "${TMPDIR:-/tmp}/mnistq-test.XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 130' HUP INT TERM

limit=
if timeout --foreground -k 10 1 true 2>/dev/null; then limit="timeout --foreground -k 10 $limit_s"; fi

# Reads the output of a suite. Prints what failed and was skipped, and last: PASSED FAILED SKIPPED
# cmocka writes a skipped test as "not ok N # SKIP NAME", after what it printed; ours are "ok N - NAME # SKIP WHY".
summary() { # STATUS
    awk -v status="$1" '
        function told(line) { sub(/^[# \t]+/, "", line); return line }
        /^ *[0-9]+\.\.[0-9]+/ { split($1, plan, /\.\./); promised += plan[2]; plans++; next }
        /^not ok [0-9]* *# SKIP/ {
            sub(/^not ok [0-9]* *# SKIP */, "")
            skips[++skipped] = $0 ": " (previous == "" ? "it does not say why" : told(previous))
            failing = 0; previous = ""; ran++; next
        }
        /^ok .*# SKIP/ {
            name = why = $0
            sub(/ *# SKIP.*/, "", name); sub(/^ok [0-9]* *-? */, "", name); sub(/.*# SKIP */, "", why)
            skips[++skipped] = name ": " why
            failing = 0; previous = ""; ran++; next
        }
        /^ok / { passed++; ran++; failing = 0; previous = ""; next }
        /^not ok/ { failed++; ran++; failing = 1; previous = ""; print "    " $0; next }
        /^Bail out!/ { bail = $0 }
        failing { print "      " $0 }
        !failing { previous = $0 }
        { last[NR % 20] = $0; lines = NR }
        END {
            why = ""
            if (status == 124 || status == 137) why = "ran out of time, or was killed"
            else if (status > 128) why = "was killed by signal " status - 128
            else if (bail != "") why = bail
            else if (plans == 0) why = "promised no number of tests, exit status " status
            else if (ran != promised) why = "ran " ran + 0 " of " promised " tests, exit status " status
            else if (ran == 0) why = "ran nothing"
            else if (status != 0 && !failed) why = "no test failed, but the exit status is " status
            if (why != "") {
                failed++
                print "    the suite itself: " why
                if (!failing) for (i = NR - 19; i <= NR; i++) if (i > 0 && (i % 20) in last) print "      " last[i % 20]
            }
            for (i = 1; i <= skipped; i++) print "    skipped: " skips[i]
            print passed + 0, failed + 0, skipped + 0
        }'
}

total_passed=0 total_failed=0 total_skipped=0

suite() { # NAME COMMAND...
    name=$1
    shift
    case $name in *"$TEST"*) ;; *) return ;; esac
    start=$(date +%s)
    # shellcheck disable=SC2086 # several words, or none
    CMOCKA_MESSAGE_OUTPUT=TAP $limit "$@" >"$log" 2>&1 </dev/null
    status=$?
    seconds=$(($(date +%s) - start))
    found=$(summary $status <"$log")
    read -r passed failed skipped <<END_OF_COUNTS
$(printf '%s\n' "$found" | tail -n 1)
END_OF_COUNTS
    count="$passed passed"
    [ "$failed" -eq 0 ] || count="$count, $failed FAILED"
    [ "$skipped" -eq 0 ] || count="$count, $skipped skipped"
    printf '%-20s %-36s %4d s\n' "$name" "$count" "$seconds"
    printf '%s\n' "$found" | sed '$d'
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
}

unset MNIST_DIR
fetched=$(sh scripts/fetch_mnist.sh data/mnist 2>&1 </dev/null)
case $? in
0)
    MNIST_DIR=data/mnist
    export MNIST_DIR
    echo "MNIST: $MNIST_DIR, verified"
    ;;
*)
    printf '%s\n' "$fetched" | sed 's/^/    /'
    echo 'MNIST: NOT AVAILABLE, see above. The tests that need it are skipped.'
    ;;
esac

for source in tests/test_*.c; do
    [ -e "$source" ] || continue
    name=$(basename "$source" .c)
    suite "$name" "$BUILD/tests/$name"
done
for script in tests/cli/*.sh; do
    case $script in */tap.sh) continue ;; esac
    suite "cli/$(basename "$script" .sh)" sh "$script"
done

if [ $((total_passed + total_failed + total_skipped)) -eq 0 ]; then echo "no suite is called *$TEST*"; fi
echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
[ $total_failed -eq 0 ] && [ $((total_passed + total_skipped)) -gt 0 ]
