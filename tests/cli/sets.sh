#!/bin/sh
# TAP tests of the set of files that each command writes to its results: the whole set of one run, however runs end or
# meet. (Of exercise: tests/cli/exercise.sh.) From the root of the repository:
#   BUILD=build sh tests/cli/sets.sh
# shellcheck disable=SC2317 # functions are called through check

. tests/cli/tap.sh

tap_program
cd "$TMP" || exit 1
make_digits idx 1000 200
for seed in 1 2; do
    "$mnistq" exercise --data idx --hidden 16,8 --calibration 100 --seed $seed --results m$seed >/dev/null
done
export OPENBLAS_NUM_THREADS=1

sums() { find "$1" -type f | sort | xargs cksum; } # FOLDER
one_run() { # FOLDER: all tables tell the same command, of those that were written last
    [ "$(sed -n 's/^# command: //p' "$1"/*.csv | sort -u | wc -l)" -eq 1 ] || return
    for csv in "$1"/*.csv; do grep -qF "$(sed -n 's/^# command: //p' "$csv")" "${csv%.csv}.md" || return; done
}
matches() { # FOLDER COMMAND: the models are those of the network that the tables tell
    hidden=$(sed -n 's/^# command: .*--hidden \([0-9]*\).*/\1/p' "$1/$2.csv") && [ -n "$hidden" ] || return
    for model in "$1/models/$2"/*; do "$mnistq" inspect "$model" | grep -q "^  architecture: mlp 784-$hidden-10$" || return; done
}
clean() { [ -z "$(find "$1" -name '*unfinished*' -o -name '*partial*')" ]; } # FOLDER: nothing unfinished

# COMMAND SEED -> the words of a run, the second time of another network
words() {
    int8=m$2/models/int8-per-channel.safetensors fp32=m$2/models/fp32.safetensors
    case $1 in
    sweep) echo "sweep --hidden $((8 + $2)) --seeds 3 --seed $2 --calibration 100" ;;
    ladder) echo "ladder --hidden $((15 + $2)) --seeds 1 --seed $2 --calibration 100" ;;
    pitfalls) echo "pitfalls --hidden 16 --seeds 1 --seed $2 --calibration 100" ;;
    compare) echo "compare $fp32 $int8 --sensitivity" ;;
    trace) echo "trace $int8 --image $2" ;;
    bench) echo "bench $fp32 --runs 7 --batch $2 --threads 1 --no-training" ;;
    esac
}
for command in sweep ladder pitfalls compare trace bench; do
    rm -rf r
    # shellcheck disable=SC2046 # words
    check "$command" "$mnistq" $(words $command 1) --data idx --results r
    check '... its tables are of one run' one_run r
    check '... nothing unfinished is left' clean r
    sums r >before
    rounds=1; [ $command != sweep ] || rounds="1 2 3"
    for round in $rounds; do # two at the same time
        for seed in 1 2; do
            # shellcheck disable=SC2046
            (exec "$mnistq" $(words $command $seed) --data idx --results r) >/dev/null 2>&1 &
        done
        wait
        check "two at the same time leave the set of one, try $round" one_run r
        check '... and nothing unfinished' clean r
        [ ! -e "r/models/$command" ] || check '... with its models' matches r $command
    done
done

# ---- killed, interrupted --------------------------------------------------------------------------------------------

begun() { # COMMAND...: runs it until it has written something
    (exec "$@") >/dev/null 2>&1 &
    pid=$!
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -z "$(find r -path '*unfinished*' -name '*.safetensors')" ] || return 0
        sleep 0.1
    done
    return 1
}
for command in sweep ladder; do
    rm -rf r
    # shellcheck disable=SC2046
    "$mnistq" $(words $command 1) --data idx --results r >/dev/null
    sums r >before
    check "$command has begun" begun "$mnistq" $command --data idx --hidden 64 --epochs 20 --seeds 50 --calibration 100 --results r
    kill -9 $pid
    wait $pid 2>/dev/null
    sums r | grep -v unfinished >now
    check '... killed, the files before are there, all of them' diff before now
    # shellcheck disable=SC2046
    check '... the next run of any command' "$mnistq" $(words trace 1) --data idx --results r
    check '... removes what it left' clean r
    check "$command has begun again" begun "$mnistq" $command --data idx --hidden 64 --epochs 20 --seeds 50 --calibration 100 --results r
    kill $pid
    wait $pid 2>/dev/null
    check '... ended by SIGTERM it removes that itself' clean r
    rm r/trace.*
    sums r >now
    check '... and the files before are there' diff before now
done

# ---- killed between two moves ---------------------------------------------------------------------------------------

# RUN KILLED WITH FAULT="rename N kill", N = 1, 2, ... of the set of another seed over the set of one. A user then finds
# the set of before; or files of both beside a list that tells so, and the next run, whatever it is, makes the rest.
preload=$BUILD/tests/faults.so
of_seed() { # SEED FILE...: tables of that run
    tells="^# command: .*--seed $1"
    shift
    for table; do grep -q "$tells" "$table" || return; done
}
exercise() { # SEED
    set -- exercise --data idx --hidden $((8 + $1)) --calibration 100 --seed "$1" --scheme both --results r
    MNISTQ_RESTARTED=core OMP_NUM_THREADS=1 "$mnistq" "$@"
}
models_of() { # SEED: fp32's and both of int8, byte for byte
    for model in fp32 int8-per-channel int8-per-tensor; do cmp -s "r/models/$model.safetensors" "set$1/models/$model.safetensors" || return; done
}
whole_set() { of_seed "$1" r/*.csv && models_of "$1" && clean r; } # SEED
if ! FAULT='rename 0' FAULT_LOG=$TMP/places LD_PRELOAD=$preload "$mnistq" --version >/dev/null 2>&1 || [ ! -e "$TMP/places" ]; then
    skip 'killed between two moves' 'nothing can be preloaded here (a sanitizer, a C library other than glibc, not x86-64)'
else
    rm -rf r
    for seed in 2 1; do exercise $seed >/dev/null && rm -rf set$seed && cp -R r set$seed; done
    kills=0 half=0 bad=0
    while :; do
        kills=$((kills + 1))
        rm -rf r && cp -R set1 r
        (FAULT="rename $kills kill" LD_PRELOAD=$preload exercise 2) >/dev/null 2>&1
        [ $? -eq 137 ] || break
        if [ -e "$(echo r/.unfinished-*/.moves)" ]; then
            half=$((half + 1)) seed=2
            [ $half -ne 4 ] || cp -R r half
            for csv in r/*.csv; do of_seed 1 "$csv" || of_seed 2 "$csv" || bad=$((bad + 1)); done
        else seed=1; fi
        # shellcheck disable=SC2046
        "$mnistq" $(words trace 1) --data idx --results r >/dev/null && rm r/trace.* && whole_set $seed || bad=$((bad + 1))
    done
    echo "# $kills places, $half of them half moved" >&2
    check 'killed at each rename: the set is of before, or the next run of any command completes it' [ $bad -eq 0 ]
    check '... and more than ten kills came between two moves' [ $half -gt 10 ]

    rm -rf r && cp -R half r
    check 'a set that is half moved is completed by the same command, which then has nothing to do'         sh -c '"$@" | grep -q "nothing to do"' sh "$mnistq" exercise --reuse --data idx --hidden 10 --calibration 100 --seed 2 --scheme both --results r
    check '... all of it' whole_set 2
    for line in +../victim +/etc/victim -../victim +away/victim !../victim '*exercise.csv' ''; do # a folder from others
        rm -rf r away && cp -R half r && mkdir away && echo mine >victim && echo mine >away/victim
        set -- r/.unfinished-*
        ln -s ../../away "$1/away" && cp victim "$1/victim" && echo "$line" >"$1/.moves"
        check_status 1 "a list of moves that says '$line'" "$mnistq" trace m1/models/int8-per-channel.safetensors --data idx --results r
        check_grep 'not all files are moved, the next run moves the rest: no list of moves' "$TMP/err" '... is told'
        check '... and followed nowhere' [ -e victim -a -e away/victim -a ! -e r/away ]
    done
    rm -rf r && cp -R half r && rm r/exercise.csv r/layers.csv && mkdir r/layers.csv
    check_status 1 'a move that cannot be made' "$mnistq" trace m1/models/int8-per-channel.safetensors --data idx --results r
    check_grep '^mnistq: r/.unfinished-[^ ]*: not all files are moved, .*r/layers.csv: is no file' "$TMP/err" '... is told'
    rmdir r/layers.csv
    check '... and made when nothing is in its way any more' "$mnistq" trace m1/models/int8-per-channel.safetensors --data idx --results r
    rm r/trace.*
    check '... all of it' whole_set 2
fi

# ---- what an earlier run left that this one does not write ------------------------------------------------------------

rm -rf r
# shellcheck disable=SC2046
"$mnistq" $(words compare 1) --data idx --results r >/dev/null
echo mine >r/mine.csv
# the tables of the pair before would stand beside those of this one
check 'compare of two other models' "$mnistq" compare m1/models/int8-per-channel.safetensors m2/models/fp32.safetensors --data idx --results r
check '... leaves no table of the two before, and what is not its own' \
    [ "$(cd r && echo *.csv)" = 'compare-changes.csv compare-layers.csv compare.csv mine.csv' ]

# ---- what stands in the way is told before the work ---------------------------------------------------------------------

mkdir -p blocked/sweep.csv
check_status 1 'a folder where a table goes' "$mnistq" sweep --data idx --epochs 1000 --results blocked
check_grep 'blocked/sweep.csv: is no file' "$TMP/err" '... is named'
rmdir blocked/sweep.csv && echo mine >blocked/sweep.csv && chmod 444 blocked/sweep.csv
check_status 1 'a write-protected table' "$mnistq" sweep --data idx --epochs 1000 --results blocked
check_grep 'blocked/sweep.csv: cannot be written: it is write-protected' "$TMP/err" '... is named'
check '... and left' grep -qx mine blocked/sweep.csv
check_status 2 'a name for the ladder that would leave its folder' "$mnistq" ladder --data idx --name .. --results r

tap_done
