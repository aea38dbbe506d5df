#!/bin/sh
# TAP tests of the set of files that `mnistq exercise` writes: whole or not at all, of one network, reused where it is
# what would be written. From the root of the repository:
#   BUILD=build sh tests/cli/exercise.sh
# shellcheck disable=SC2317,SC2016,SC2120 # functions are called through check; programs for sh hold dollars

. tests/cli/tap.sh

tap_program
make_digits "$TMP/idx" 2000 500
cd "$TMP" || exit 1
sum_program=sha256sum
command -v sha256sum >/dev/null || sum_program='shasum -a 256'

exercise() { "$mnistq" exercise --data idx --hidden 16 --calibration 100 "$@"; }
sums() { find "$1" -type f | sort | xargs cksum; } # FOLDER
same() { # FOLDER FILE: the folder's files are those of the list
    sums "$1" >now && diff "$2" now
}
whole() { # FOLDER: the stamp's sums are those of the files, and the table's bytes those of the models
    (cd "$1" && grep -v '^#' .exercise | $sum_program -c -) || return
    for model in fp32 int8-per-channel int8-per-tensor; do wc -c <"$1/models/$model.safetensors"; done | tr -d ' ' >sizes
    grep -v '^#' "$1/exercise.csv" | sed 1d | cut -d, -f4 | diff - sizes
}
clean() { # FOLDER: nothing unfinished
    [ -z "$(find "$1" -name '*unfinished*' -o -name '*partial*')" ]
}

check 'a first run' exercise --results r
cp "$TMP/out" shown
check_grep '^  per-tensor: [0-9]+ of 500 answers changed, [0-9]+ fixed, [0-9]+ broken[.]$' shown '... says how many answers changed'
check '... as the table does' grep -q "^  per-channel: $(csv_find r/exercise.csv granularity=per-channel changed) of 500 .* $(csv_find r/exercise.csv granularity=per-channel broken) broken" shown
check_no_grep 'same highest code' shown '... leaves the ties to the files'
check_grep '^per-tensor: [0-9]+ images? ha.* highest code' r/exercise.md '... which have them'
check '... its stamp tells the sums of all files' whole r
check '... and names them' [ "$(grep -vc '^#' r/.exercise)" -eq 10 ]
check '... nothing unfinished is left' clean r

# ---- one network's files --------------------------------------------------------------------------------------

cp r/models/fp32.safetensors r/models/mine.safetensors
cp r/models/fp32.safetensors r/models/bf16.safetensors # as make bench makes it from them
check 'one scheme only' "$mnistq" exercise --data idx --hidden 8 --calibration 100 --scheme per-tensor --results r
check '... leaves no model of the other network, and what is not its own' \
    [ "$(cd r/models && echo *)" = 'fp32.safetensors int8-per-tensor.safetensors mine.safetensors' ]
rm r/models/mine.safetensors

# ---- what stands in the way -------------------------------------------------------------------------------------

# A killed run leaves its folder, without a lock: the next run removes it and takes nothing from it.
mkdir -p r/.unfinished-1234/models
cp r/models/fp32.safetensors r/.unfinished-1234/models/int8-per-channel.safetensors
check 'a run beside what a killed one left' "$mnistq" exercise --data idx --hidden 8 --calibration 100 --scheme per-tensor --results r
check '... removes it' clean r
check '... and takes nothing from it' [ ! -e r/models/int8-per-channel.safetensors ]

mkdir -p blocked/layers.md/x
check_status 1 'a folder where a table goes' exercise --results blocked
check_grep 'layers.md: is no file' "$TMP/err" '... is named'
check '... before anything is written' [ "$(ls blocked)" = layers.md ]

mkdir -p linked elsewhere
echo mine >elsewhere/table.csv
ln -s ../elsewhere/table.csv linked/exercise.csv
check 'a table that is a link' exercise --results linked
check '... stays one' [ -L linked/exercise.csv ]
check '... and is written where it leads' grep -q '^format,' elsewhere/table.csv

limited() { (ulimit -f 3 && exercise --results limited); }
check_status 1 'files that may not grow' limited
check_grep 'limited/models/fp32.safetensors: could not be written' "$TMP/err" '... are named as the user knows them'
check '... and nothing unfinished is left' clean limited

# ---- reuse ------------------------------------------------------------------------------------------------------

exercise --results r >/dev/null
sums r >before
said() { [ "$(tr '\n' ' ' <said | sed "s/^r: nothing to do; it is by \`mnistq exercise [^\`]*\` \$//" | wc -c)" -eq 0 ]; }
ran() { grep '^The exercise' said; }
anew() { ran && tr '\n' ' ' <said | grep "^r: made anew$1.*; it was by \`mnistq exercise "; }
reuse() { exercise --results r --reuse "$@" >said; }
check '--reuse' reuse
check '... says so in one line' said
check '... changes nothing' same r before
"$mnistq" exercise --reuse --data idx --hidden 16 --calibration 100 --results r >said
check '--reuse before the other options' said
for same in '--scheme both' '--seed 1 --scheme both --hidden 16' '--smoothing 2e-1'; do
    # shellcheck disable=SC2086 # several words
    reuse $same
    check "--reuse $same, which is what it was made with" said
done
bare() { "$mnistq" exercise --reuse --data idx --results r "$@" >said; }
check '--reuse without a word of what was asked for then' bare
check '... leaves that' said
check '--reuse with another option' reuse --seed 2
check '... runs, and says what it makes anew, and why' anew ' with other options'
check '... then without it' bare
check '... leaves what it made' said
check '... named with its options, and without --reuse' sh -c "tr '\n' ' ' <said | grep -q -- '--results r --seed 2\`'"
check '--reuse with a scheme that is not there alone' bare --scheme per-tensor --hidden 16 --calibration 100
check '... runs, and says so' anew ' with other options'
check '... and is left with' [ "$(cd r/models && echo *)" = 'fp32.safetensors int8-per-tensor.safetensors' ]
check '--reuse of part of a number: 1 is not 16' reuse --hidden 1
check '... runs' ran
reuse
reuse
check 'what it then writes is reused' said
for damage in 'rm r/layers.csv' 'rm r/models/int8-per-channel.safetensors' 'echo >>r/exercise.md' 'rm r/.exercise' 'echo >>r/.exercise'; do
    reuse && sh -c "$damage"
    check "--reuse after $damage" reuse
    check '... runs' ran
    [ "$damage" = 'rm r/.exercise' ] || check '... and says why' anew ', as program, machine, data or a file is another'
    check '... and all is whole' whole r
done
"$BUILD/tests/make_idx" idx2 1000 500 && cp idx/t10k* idx2 && mv idx idx1 && mv idx2 idx
check '--reuse with other data under the same name' reuse
check '... runs' ran
rm -r idx && mv idx1 idx
if cp "$mnistq" other 2>/dev/null && printf x >>other && ./other --help >/dev/null 2>&1; then
    reuse && reuse
    ./other exercise --data idx --hidden 16 --calibration 100 --results r --reuse >said
    check '--reuse by another build of the program runs' ran
else
    skip '--reuse by another build of the program runs' 'a byte behind the program makes it unusable here'
fi

# ---- interrupted, failed, at the same time ------------------------------------------------------------------------

exercise --results r >/dev/null
sums r >before
( exec "$mnistq" exercise --data idx --hidden 64 --epochs 1000 --results r ) >/dev/null 2>&1 &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -z "$(find r -name '*unfinished*')" ] || break
    sleep 0.3
done
check 'a run has begun' [ -n "$(find r -name '*unfinished*')" ]
kill $pid
wait $pid 2>/dev/null
check 'ended by SIGTERM: the files before are there, all of them' same r before
check '... and no others' clean r
mkdir bad && : >bad/models
check_status 1 'models is a file' exercise --results bad
check_grep '^mnistq: bad/models: is not a folder$' "$TMP/err" '... says so'
check '... nothing was written' [ "$(ls -A bad)" = models ]
for round in 1 2 3; do
    ( exec "$mnistq" exercise --data idx --hidden 16 --calibration 100 --results both ) >/dev/null &
    ( exec "$mnistq" exercise --data idx --hidden 17 --calibration 100 --results both ) >/dev/null &
    wait
    check "two runs at the same time leave the set of one, try $round" whole both
    check '... and nothing unfinished' clean both
done

tap_done
