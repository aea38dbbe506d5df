#!/bin/sh
# Runs every test: $BUILD/tests/test_*, and tests/cli/*.sh against $BUILD/mnistq. `make test` calls it.
#   BUILD=build TEST=fetch sh tests/run.sh     only the suites whose name contains TEST
# A line for each suite, and below it what failed and what was skipped and why. The last line is the sum.
# Every suite speaks TAP. One that crashes, runs out of time, leaves a process behind, or ran nothing or not all it
# promised has failed. As many suites run at once as there are processors (TEST_JOBS); one whose source has a line with
# "RUN ALONE" runs by itself, after the others.
# Real MNIST is fetched once into data/mnist (MNIST_MIRROR is honoured); MNIST_DIR tells the tests where it is.

set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
TEST=${TEST:-}
jobs=${TEST_JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
limit_s=${TEST_LIMIT_S:-600} # a suite that takes longer hangs
HTTP_SERVER=$BUILD/tests/http_server
export BUILD HTTP_SERVER
# What a make that calls this hands down must not reach the makes and the programs that are tested.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES DATA RESULTS

work=$(mktemp -d "${TMPDIR:-/tmp}/mnistq-test.XXXXXX") || exit 1
clean_up() {
    for group in "$work"/*.group; do [ -s "$group" ] && kill -s KILL -- "-$(cat "$group")" 2>/dev/null; done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' HUP INT TERM

# timeout puts the suite into a process group of its own, whose number is timeout's, and ends all of the group.
limit=
if timeout -k 10 1 true 2>/dev/null; then limit="timeout -k 10 $limit_s"; fi

# Reads the output of a suite. Prints what failed and was skipped, and last: PASSED FAILED SKIPPED
# cmocka writes a skipped test as "not ok N # SKIP NAME", after what it printed; ours are "ok N - NAME # SKIP WHY".
summary() { # STATUS LEFT
    awk -v status="$1" -v left="$2" '
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
            else if (left + 0) why = "a process that it started still ran after it"
            if (why != "") {
                failed++
                print "    the suite itself: " why
                if (!failing) for (i = NR - 19; i <= NR; i++) if (i > 0 && (i % 20) in last) print "      " last[i % 20]
            }
            for (i = 1; i <= skipped; i++) print "    skipped: " skips[i]
            print passed + 0, failed + 0, skipped + 0
        }'
}

still_running() { # GROUP: how many of its processes; one that is dead, but not waited for, is none
    # shellcheck disable=SC2013 # each process may be gone when it is looked at
    for stat in $(grep -l " $1 " /proc/[0-9]*/stat 2>/dev/null); do cat "$stat" 2>/dev/null; done |
        awk -v group="$1" '{ sub(/.*[)] /, ""); n += $3 == group && $1 != "Z" } END { print n + 0 }'
}

run_suite() { # NAME: its output to $work/NAME.log, and what came of it to $work/NAME.done
    file=$work/$(printf %s "$1" | tr / -)
    case $1 in
    cli/*) set -- "$1" sh "tests/$1.sh" ;;
    *) set -- "$1" "$BUILD/tests/$1" ;;
    esac
    shift
    start=$(date +%s)
    # shellcheck disable=SC2086 # several words, or none
    CMOCKA_MESSAGE_OUTPUT=TAP $limit "$@" >"$file.log" 2>&1 </dev/null &
    pid=$!
    [ -z "$limit" ] || echo $pid >"$file.group"
    wait $pid
    status=$? left=0
    if [ -n "$limit" ]; then
        left=$(still_running $pid)
        kill -s KILL -- -$pid 2>/dev/null
        rm -f "$file.group"
    fi
    echo "$status $left $(($(date +%s) - start))" >"$file.ended"
    mv "$file.ended" "$file.done"
}

worker() { # NAME...: takes one after the other, unless another worker has it
    for name; do
        mkdir "$work/$(printf %s "$name" | tr / -).taken" 2>/dev/null && run_suite "$name"
    done
}

total_passed=0 total_failed=0 total_skipped=0
tell() { # NAME: waits for it
    file=$work/$(printf %s "$1" | tr / -)
    until [ -e "$file.done" ]; do sleep 0.1; done
    read -r status left seconds <"$file.done"
    found=$(summary "$status" "$left" <"$file.log")
    read -r passed failed skipped <<END_OF_COUNTS
$(printf '%s\n' "$found" | tail -n 1)
END_OF_COUNTS
    count="$passed passed"
    [ "$failed" -eq 0 ] || count="$count, $failed FAILED"
    [ "$skipped" -eq 0 ] || count="$count, $skipped skipped"
    printf '%-20s %-36s %4d s\n' "$1" "$count" "$seconds"
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

# The longest first, so that none is left over at the end.
first='cli/faults cli/make cli/cross cli/ladder cli/commands cli/peers cli/badinput cli/audit cli/pitfalls cli/compare cli/mnist'
together='' alone=''
for name in $first $(cd tests && printf '%s\n' cli/*.sh test_*.c); do
    name=${name%.*}
    case " $together $alone " in *" $name "*) continue ;; esac
    case $name in *"$TEST"*) ;; *) continue ;; esac
    case $name in cli/tap | cli/csv) continue ;; cli/*) source=tests/$name.sh ;; *) source=tests/$name.c ;; esac
    [ -e "$source" ] || continue
    if grep -q 'RUN ALONE' "$source"; then alone="$alone $name"; else together="$together $name"; fi
done
i=0
while [ $((i += 1)) -le "$jobs" ]; do
    # shellcheck disable=SC2086 # several names
    worker $together &
done
for name in $together; do tell "$name"; done
wait
for name in $alone; do
    run_suite "$name"
    tell "$name"
done

if [ $((total_passed + total_failed + total_skipped)) -eq 0 ]; then echo "no suite is called *$TEST*"; fi
echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
[ $total_failed -eq 0 ] && [ $((total_passed + total_skipped)) -gt 0 ]
