#!/bin/sh
# TAP tests of one failing call, at every place of each command that makes such calls: an allocation, an open, read,
# write, rename, fsync, close or mkdir fails, the disk is full from some write on, or the program is killed. The command
# does all of its work, or says in one line what is wrong and exits with 1; no file is lost, half-written or left over
# (but for a set that is half moved, and temporary files of a killed run: the next run sees to both). And of kill -9 at
# KILLS random moments, each from files of before and from those of an earlier run of the command.
# `make faults` tries every place that no command before had; `make test` a few of each command:
#   BUILD=build sh tests/cli/faults.sh
#   MOST=100000 KILLS=200 BUILD=build sh tests/cli/faults.sh [KIND...]
# shellcheck disable=SC2317,SC2015,SC2013 # functions are called through check; echo does not fail; positions are words

. tests/cli/tap.sh

root=$PWD
tap_program
preload=$BUILD/tests/faults.so
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MNISTQ_RESTARTED=core # one process, one thread: calls keep their order
if ! FAULT='open 0' FAULT_LOG=$TMP/places LD_PRELOAD=$preload "$mnistq" --version >"$TMP/version" 2>&1 ||
    [ "$(wc -l <"$TMP/version")" -ne 1 ] || [ ! -e "$TMP/places" ]; then
    skip 'failing calls' 'nothing can be preloaded here (a sanitizer, a C library other than glibc, not x86-64)'
    tap_done
fi

mkdir "$TMP/before"
cd "$TMP/before" || exit 1
make_digits idx 40 12
"$mnistq" train --data idx --hidden 6 --out fp32 --quiet || tap_bail 'train does not work'
"$BUILD/tests/make_idx" small 40 12 12 12 && "$mnistq" train --data small --hidden 6 --out small/fp32 --quiet ||
    tap_bail 'train does not work'
"$mnistq" quantize fp32 --data idx --calibration 20 --out int8 --quiet || tap_bail 'quantize does not work'
"$mnistq" inspect int8 --fp32 fp32 --weights-png p.png --quiet || tap_bail 'inspect does not work'
mkdir ../work
all_kinds='alloc open read write full rename fsync close mkdir kill random' kinds=${*:-$all_kinds}
for kind in $all_kinds; do echo none none >"../seen-$kind"; done
for old in out out.csv out.png results/exercise.csv; do # files that are there already
    mkdir -p results
    echo "an older file" >$old
done

# The audit tells in a table's cell why it could not read another table.
# Speeds differ from run to run, and the processor's name is left out where there is no memory to ask for it.
plain() { sed -e '/CPU/d' -e 's/[0-9.]* s\>/T s/g' "$1"; }
shape() { sed -e '/CPU/d' -e 's/"*\([a-z/-]*[.]csv\) has no column "*[a-z_]*"*/\1: WHY/' -e 's/\([.]csv\): [^,|]*/\1: WHY/' -e 's/[-+]*[0-9][0-9.]*/N/g' "$1" | tr -s ' \t\n-' ' ' | sed 's/,* *"*Busy machine[^.]*[.][^.]*quiet[.]"*//'; }
same() { # HOW FILE FILE
    cmp -s "$2" "$3" || { [ "$1" != bytes ] && "$1" "$2" >"$TMP/a" && "$1" "$3" >"$TMP/b" && cmp -s "$TMP/a" "$TMP/b"; }
}
like() { # as expected, for the files of a folder that are text; HOW FOLDER
    if [ "$3" = or_before ]; then
        (cd "$TMP/$start" && find . -type f) | while read -r file; do
            [ -e "$2/$file" ] || [ ! -e "$TMP/after/$file" ] || { echo "$file is lost"; return 1; }
        done || return 1
    fi
    (cd "$2" && find . -type f ! -name .exercise | sort) >"$TMP/files"
    while read -r file; do
        case $file in *.csv | *.md | *.json | *.svg) alike=$1 ;; *) alike=bytes ;; esac
        same "$alike" "$2/$file" "$TMP/after/$file" || { [ "$3" = or_before ] && cmp -s "$2/$file" "$TMP/$start/$file"; } ||
            { echo "$file is neither as before nor as it should be"; return 1; }
    done <"$TMP/files"
}
start=before
fresh() { rm -rf "$TMP/work" && cp -R "$TMP/$start" "$TMP/work" && cd "$TMP/work" || exit 1; }
leftovers() { find . \( -name '*.partial-*' -o -name '.unfinished-*' \) -prune -print; }

survives() { # HOW ARGUMENT...: each file is as before or as it should be, and the next run clears up
    how=$1
    shift
    rm -rf "$TMP/left" && cp -R "$TMP/work" "$TMP/left"
    leftovers | while read -r name; do rm -rf "${TMP:?}/left/$name"; done
    like "$how" "$TMP/left" or_before || return 1
    "$mnistq" "$@" >"$TMP/stdout" 2>"$TMP/stderr" </dev/null || { echo "the next run fails: $(cat "$TMP/stderr")"; return 1; }
    like "$how" "$TMP/work" all
}

run_killed() { # SECONDS ARGUMENT...
    wait=$1
    shift
    (exec "$mnistq" "$@") >"$TMP/stdout" 2>"$TMP/stderr" </dev/null &
    sleep "$wait"
    kill -9 $!
    wait $!
}

outcome() { # HOW KIND POSITION ARGUMENT...
    how=$1 kind=$2 position=$3 why=
    shift 3
    case $kind in
    alloc) fault="alloc $position" why='out of memory\|Cannot allocate memory' ;;
    full) fault="write $position on" ;;
    kill) fault="change $position kill" ;;
    *) fault="$kind $position" ;;
    esac
    fresh
    # In a shell of its own, which says "Killed" where nobody reads it
    if [ "$kind" = random ]; then run_killed "$position" "$@" 2>/dev/null
    else (FAULT=$fault LD_PRELOAD=$preload "$mnistq" "$@" >"$TMP/stdout" 2>"$TMP/stderr" </dev/null) 2>/dev/null; fi
    status=$?
    case $status in
    0)
        [ "$kind" != full ] || { echo 'succeeds on a full disk'; return 1; }
        cmp -s "$TMP/stderr" "$TMP/warnings" || { echo "succeeds, and complains: $(cat "$TMP/stderr")"; return 1; }
        same "$how" "$TMP/stdout" "$TMP/sound" || { echo 'succeeds, and prints less'; return 1; }
        like "$how" "$TMP/work" all && [ "$(wc -l <"$TMP/files")" -eq "$files" ] || { echo 'succeeds, and files differ'; return 1; }
        ;;
    1)
        grep -v -x -F -f "$TMP/warnings" "$TMP/stderr" >"$TMP/said" # warnings may have come before
        [ "$(wc -l <"$TMP/said")" -eq 1 ] && grep -q "^mnistq: .*\($why\)" "$TMP/said" ||
            { echo "does not say in one line what is wrong: $(cat "$TMP/stderr")"; return 1; }
        for name in $(leftovers); do # of a set that was half moved
            [ -e "$name/.moves" ] || { echo "leaves $name"; return 1; }
        done
        if [ "$name" != "${name#./}" ]; then survives "$how" "$@"; else like "$how" "$TMP/work" or_before; fi
        ;;
    137)
        case $kind in kill | random) survives "$how" "$@" ;; *) echo 'was killed'; return 1 ;; esac
        ;;
    *) echo "exit status $status: $(cat "$TMP/stderr")"; return 1 ;;
    esac
}

sound_run() { # CALL ARGUMENT...: what a run should print and leave, and the places of such calls
    fresh
    rm -f "$TMP/places"
    call=$1
    shift
    FAULT="$call 0" FAULT_LOG=$TMP/places LD_PRELOAD=$preload "$mnistq" "$@" >"$TMP/sound" 2>"$TMP/warnings" </dev/null || return 1
    rm -rf "$TMP/after" && mv "$TMP/work" "$TMP/after"
    files=$(find "$TMP/after" -type f ! -name .exercise | wc -l)
}

every_place() { # KIND MOST HOW ARGUMENT...: at most that many places, of those that are new
    kind=$1 most=$2 form=$3 call=$1
    shift 3
    case $kind in full) call="write" ;; kill) call="change" ;; esac
    sound_run "$call" "$@" || return 1
    bad=0
    awk 'FNR == NR { seen[$2]; next } !($2 in seen) { print $1 }' "$TMP/seen-$kind" "$TMP/places" >"$TMP/new"
    step=$(($(wc -l <"$TMP/new") / most + 1))
    for position in $(awk -v step="$step" 'NR % step == 0' "$TMP/new"); do
        outcome "$form" "$kind" "$position" "$@" >"$TMP/why" || { bad=$((bad + 1)) && echo "$kind $position: $(cat "$TMP/why")"; }
    done
    cat "$TMP/places" >>"$TMP/seen-$kind" # what commands share is tried once
    echo "$kind $bad $(($(wc -l <"$TMP/new") / step))" >>"$TMP/counts"
    [ -e "$TMP/places" ] && [ "$bad" -eq 0 ]
}
# Kills it until as many died; those that were over before do not count.
random_moments() { # TIMES HOW ARGUMENT...
    most=$1 form=$2 times=0 died=0 bad=0
    shift 2
    sound_run write "$@" || return 1
    fresh
    from=$(date +%s%N)
    "$mnistq" "$@" >"$TMP/stdout" 2>"$TMP/stderr" </dev/null || return 1
    length=$(($(date +%s%N) - from))
    while [ $died -lt "$most" ] && [ $times -lt $((5 * most)) ]; do # that were not over before
        times=$((times + 1)) moment=$((moment + 1))
        if [ $((times % 2)) -eq 0 ]; then start=before; else start=after; fi
        after=$(awk -v seed=$moment -v ns="$length" 'BEGIN { srand(seed); rand(); printf "%.4f", rand() * ns / 1e9 }')
        outcome "$form" random "$after" "$@" >"$TMP/why" || { bad=$((bad + 1)) && echo "killed after $after s, from $start: $(cat "$TMP/why")"; }
        [ $status -ne 137 ] || died=$((died + 1))
    done
    start=before
    echo "random $bad $died" >>"$TMP/counts"
    [ "$bad" -eq 0 ]
}
moment=$(date +%s) turn=0 KILLS=${KILLS:-10}
killed() { # HOW ARGUMENT...: its share of the kills
    case " $kinds " in *' random '*) ;; *) return ;; esac
    turn=$((turn + 1))
    [ "$KILLS" -ge $commands ] || [ $((turn % (commands / KILLS))) -eq 0 ] || return 0
    random_moments $(((KILLS + commands - 1) / commands)) "$@"
}

every_kind() { # HOW ARGUMENT...
    passed=yes
    for tried in $kinds; do
        case $tried in alloc) limit=${MOST:-16} ;; *) limit=${MOST:-2} ;; esac
        [ "$tried" = random ] || every_place "$tried" "$limit" "$@" || passed=no
    done
    killed "$@" || passed=no
    [ "$passed" = yes ]
}
commands=23 # of those below, to share the kills
faults() { check "$*" every_kind "$@"; }

faults plain train --data idx --hidden 6 --validation 10 --out out
faults shape quantize fp32 --data idx --calibration 20 --out out
faults shape quantize fp32 --data idx --calibration 20 --out out --format int4
faults shape quantize fp32 --data idx --calibration 20 --out out --format bf16
faults plain eval int8 --data idx --predictions out --json
faults plain eval int8 --data idx --break int8-saturate --codes out
faults plain predict int8 p.png --json
faults plain predict fp32 p.png --show
faults plain inspect int8 --json
faults plain inspect int8 --histogram --data idx --fp32 fp32 --weights-png out.png --results results
faults plain compare fp32 int8 --data idx --json --sensitivity
faults plain compare fp32 int8 --data idx --results results
faults plain export int8 --format c --out out
faults plain export int8 --format npy --data idx --calibration 4 --out out
faults plain trace int8 --data idx --fp32 fp32 --results results
faults plain trace int8 --data idx --worksheet --key out
faults shape exercise --json --data idx --hidden 6 --calibration 20 --results results
faults shape sweep --data idx --hidden 6 --calibration 20 --seeds 1 --results results
faults shape bench fp32 --json --data idx --batch 1 --threads 1 --runs 9 --no-training --results results
faults shape audit --data idx --hidden 6 --no-run --results results
faults shape ladder small/fp32 --data small --images 20 --calibration 20 --results results
check 'pitfalls, killed' killed shape pitfalls --data idx --hidden 6 --calibration 20 --seeds 1 --results results
if [ "$KILLS" -ge $commands ]; then
    cd "$TMP/before" || exit 1
    mkdir parts && for part in engine.wasm page.js page.css; do echo "$part" >parts/$part; done
    echo '<html>{{csp}}{{style}}{{tables}}{{blobs}}{{script}}</html>' >parts/page.html
    "$BUILD/tests/make_idx" large 600 12
    "$mnistq" exercise --data large --hidden 6 --scheme both --results page >/dev/null &&
        sh "$root/scripts/page_models.sh" "$mnistq" large page/models >/dev/null || tap_bail 'no models for the page'
    check 'page, killed' killed plain page --data large --results page --parts parts --images 5
fi
awk '{ bad[$1] += $2; n[$1] += $3; all += $3 }
    END { for (kind in n) printf "# %s: %d, %d of them ended badly\n", kind, n[kind], bad[kind]; printf "# %d faults in all\n", all }' \
    "$TMP/counts" >&2
tap_done
