#!/bin/sh
# TAP tests of one failed allocation, at every place of each command that allocates: the command does all of its work, or
# says that memory is out and exits with 1. From the root of the repository:
#   BUILD=build sh tests/cli/memory.sh
#   MOST=1000 BUILD=build sh tests/cli/memory.sh     tries every place that no command before had: 3 minutes
# shellcheck disable=SC2317,SC2015,SC2013 # functions are called through check; echo does not fail; positions are words

. tests/cli/tap.sh

BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
mnistq=$BUILD/mnistq
preload=$BUILD/tests/fail_alloc.so
[ -x "$mnistq" ] || tap_bail "$mnistq: not there (make builds it)"
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MNISTQ_RESTARTED=core # one process, one thread: calls keep their order
if ! FAIL_ALLOC_LOG=$TMP/places LD_PRELOAD=$preload "$mnistq" --version >"$TMP/version" 2>&1 ||
    [ "$(wc -l <"$TMP/version")" -ne 1 ] || [ ! -e "$TMP/places" ]; then
    skip 'failed allocations' 'nothing can be preloaded here (a sanitizer, or a C library other than glibc)'
    tap_done
fi

mkdir "$TMP/before"
cd "$TMP/before" || exit 1
"$BUILD/tests/make_idx" idx 40 12 || tap_bail "$BUILD/tests/make_idx does not work"
"$mnistq" train --data idx --hidden 6 --out fp32 --quiet || tap_bail 'train does not work'
"$BUILD/tests/make_idx" small 40 12 12 12 && "$mnistq" train --data small --hidden 6 --out small/fp32 --quiet ||
    tap_bail 'train does not work'
"$mnistq" quantize fp32 --data idx --calibration 20 --out int8 --quiet || tap_bail 'quantize does not work'
"$mnistq" inspect int8 --fp32 fp32 --weights-png p.png --quiet || tap_bail 'inspect does not work'
mkdir ../work
echo none none >../seen
most=${MOST:-24} # places tried of a command, of those that are new
for old in out out.csv out.png results/exercise.csv; do # files that are there already
    mkdir -p results
    echo "an older file" >$old
done

# Speeds differ from run to run, and the processor's name is left out where there is no memory to ask for it.
plain() { sed -e '/CPU/d' -e 's/[0-9.]* s\>/T s/g' "$1"; }
shape() { sed -e '/CPU/d' -e 's/[-+]*[0-9][0-9.]*/N/g' "$1" | tr -s ' \t\n-' ' ' | sed 's/,* *"*Busy machine[^.]*[.][^.]*quiet[.]"*//'; }
same() { # HOW FILE FILE
    cmp -s "$2" "$3" || { [ "$1" != bytes ] && "$1" "$2" >"$TMP/a" && "$1" "$3" >"$TMP/b" && cmp -s "$TMP/a" "$TMP/b"; }
}
like() { # as expected, for the files of a folder that are text; HOW FOLDER
    (cd "$2" && find . -type f ! -name .exercise | sort) >"$TMP/files"
    while read -r file; do
        case $file in *.csv | *.md | *.json | *.svg) how=$1 ;; *) how=bytes ;; esac
        same "$how" "$2/$file" "$TMP/after/$file" || { [ "$3" = or_before ] && cmp -s "$2/$file" "$TMP/before/$file"; } ||
            { echo "$file is neither as before nor as it should be"; return 1; }
    done <"$TMP/files"
}
fresh() { rm -rf "$TMP/work" && cp -R "$TMP/before" "$TMP/work" && cd "$TMP/work" || exit 1; }

outcome() { # HOW POSITION ARGUMENT...
    how=$1 position=$2
    shift 2
    fresh
    FAIL_ALLOC=$position LD_PRELOAD=$preload "$mnistq" "$@" >"$TMP/stdout" 2>"$TMP/stderr" </dev/null
    status=$?
    case $status in
    0)
        [ ! -s "$TMP/stderr" ] || { echo "succeeds, and complains: $(cat "$TMP/stderr")"; return 1; }
        same "$how" "$TMP/stdout" "$TMP/sound" || { echo 'succeeds, and prints less'; return 1; }
        like "$how" "$TMP/work" all && [ "$(wc -l <"$TMP/files")" -eq "$files" ] || { echo 'succeeds, and files differ'; return 1; }
        ;;
    1)
        [ "$(wc -l <"$TMP/stderr")" -eq 1 ] && grep -q '^mnistq: .*\(out of memory\|Cannot allocate memory\)' "$TMP/stderr" ||
            { echo "does not say that memory is out: $(cat "$TMP/stderr")"; return 1; }
        like "$how" "$TMP/work" or_before
        ;;
    *) echo "exit status $status"; return 1 ;;
    esac
}

every_place() { # HOW ARGUMENT...
    kind=$1
    shift
    fresh
    FAIL_ALLOC_LOG=$TMP/places LD_PRELOAD=$preload "$mnistq" "$@" >"$TMP/sound" 2>"$TMP/stderr" </dev/null || return 1
    rm -rf "$TMP/after" && mv "$TMP/work" "$TMP/after"
    files=$(find "$TMP/after" -type f ! -name .exercise | wc -l)
    bad=0
    awk 'FNR == NR { seen[$2]; next } !($2 in seen) { print $1 }' "$TMP/seen" "$TMP/places" >"$TMP/new"
    step=$(($(wc -l <"$TMP/new") / most + 1))
    for position in $(awk -v step="$step" 'NR % step == 0' "$TMP/new"); do
        outcome "$kind" "$position" "$@" >"$TMP/why" || { bad=$((bad + 1)) && echo "allocation $position: $(cat "$TMP/why")"; }
    done
    cat "$TMP/places" >>"$TMP/seen" # what commands share is tried once
    echo "$bad of $(($(wc -l <"$TMP/new") / step))"
    [ -s "$TMP/places" ] && [ "$bad" -eq 0 ]
}
memory() { check "$*" every_place "$@"; }

memory plain train --data idx --hidden 6 --validation 10 --out out
memory shape quantize fp32 --data idx --calibration 20 --out out
memory shape quantize fp32 --data idx --calibration 20 --out out --format int4
memory shape quantize fp32 --data idx --calibration 20 --out out --format bf16
memory plain eval int8 --data idx --predictions out --json
memory plain eval int8 --data idx --break int8-saturate --codes out
memory plain predict int8 p.png --json
memory plain predict fp32 p.png --show
memory plain inspect int8 --json
memory plain inspect int8 --histogram --data idx --fp32 fp32 --weights-png out.png --results results
memory plain compare fp32 int8 --data idx --json --sensitivity
memory plain compare fp32 int8 --data idx --results results
memory plain trace int8 --data idx --fp32 fp32 --results results
memory plain trace int8 --data idx --worksheet --key out
memory shape exercise --json --data idx --hidden 6 --calibration 20 --results results
memory shape sweep --data idx --hidden 6 --calibration 20 --seeds 1 --results results
memory shape bench fp32 --json --data idx --batch 1 --threads 1 --runs 9 --no-training --results results
memory shape audit --data idx --hidden 6 --no-run --results results
memory shape ladder small/fp32 --data small --images 20 --calibration 20 --results results
tap_done
