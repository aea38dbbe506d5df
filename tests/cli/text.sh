#!/bin/sh
# TAP tests of text from elsewhere (names of files and folders, metadata of models) on its way to the terminal, to
# tables, to JSON and to other models; and of how the program is started. From the root of the repository:
#   BUILD=build sh tests/cli/text.sh
# shellcheck disable=SC2317,SC2046 # functions are called through check; words

. tests/cli/tap.sh

tap_program
cd "$TMP" || exit 1
make_digits idx 300 60
export OPENBLAS_NUM_THREADS=1

esc=$(printf '\033[31m')
c1=$(printf '\302\233')     # CSI in one character
bidi=$(printf '\342\200\256') # what follows is read from right to left
latin=$(printf 'caf\351')
clean() { # FILE...: UTF-8 without a control but the ends of lines, or a change of direction
    for clean_file; do
        iconv -f UTF-8 -t UTF-8 "$clean_file" >/dev/null || return
        ! LC_ALL=C grep -q "$(printf '[\001-\010\013-\037\177]\|\302[\200-\237]\|\342\200[\250-\256\216\217]')" "$clean_file" || return
    done
}

# ---- data: what a model tells of its folder is cut between characters, and is UTF-8 --------------------------------------

long=$(printf '\344\270\255%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34)
accents=$(printf '\303\251%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35)$(
    printf '\303\251%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35)
for name in "$long" "$accents" "$latin" "a${esc}b" "a${c1}2Jb" "${bidi}cba" '=1+1' '<img src=x>' 'a|b' "it's \"quoted\"" '-x'; do
    ln -s idx "./$name"
    shown=$(printf '%s' "$name" | cut -c1-20 | tr '\001-\037' '?')
    rm -rf r m.st
    check "train on $shown" "$mnistq" train --data "./$name" --hidden 8 --out m.st --json
    cp "$TMP/out" json
    check '... JSON' json_lines json
    check '... clean' clean json
    check '... whose model is read' "$mnistq" inspect m.st
    cp "$TMP/out" told
    check '... and its text is clean' clean told
    check '... and its header' sh -c 'head -c 600 m.st | tail -c +9 | iconv -c -f UTF-8 -t UTF-8 >/dev/null && ! LC_ALL=C grep -q "caf.st" m.st'
    check '... and an exercise' "$mnistq" exercise --data "./$name" --hidden 8 --calibration 100 --results r
    check '... whose tables are clean' clean r/*.md r/*.csv "$TMP/out"
    "$mnistq" compare "r/models/fp32.safetensors" r/models/int8-per-channel.safetensors --data "./$name" --json >json 2>err
    check '... compare --json' json_lines json
done

# ---- names of models ----------------------------------------------------------------------------------------------------

"$mnistq" exercise --data idx --hidden 8 --calibration 100 --results r >/dev/null
fp32=r/models/fp32.safetensors int8=r/models/int8-per-channel.safetensors
for name in "=cmd|x'!A0" "@SUM(1)" "<img src=x onerror=1>.st" '[a](http:b).st' "a${esc}b.st" "a${c1}b${bidi}.st" "$latin.st"; do
    cp $int8 "./$name"
    shown=$(printf '%s' "$name" | tr '\001-\037' '?')
    rm -rf t
    check "compare with $shown" "$mnistq" compare $fp32 "$name" --data idx --results t
    check '... clean' clean "$TMP/out" t/*.md t/*.csv
    check_no_grep '^([^,]*,)?[=+@]' t/compare.csv '... no cell begins a formula'
    grep -v '^- [^`]*`[^`]*`$' t/compare.md >paragraphs # facts are code, where nothing begins
    check_no_grep '<img|[^\\]\]\(' paragraphs '... no element and no link'
    check "trace of it" "$mnistq" trace "$name" --data idx --results t
    check '... clean' clean "$TMP/out" t/trace.txt t/trace.md t/trace.csv
    check 'bench of it' "$mnistq" bench "$name" --data idx --runs 7 --batch 1 --threads 1 --no-training --results t
    check '... clean' clean "$TMP/out" t/bench.md t/bench.csv
    check_no_grep '^[=+@]' t/bench.csv '... no cell begins a formula'
    check_status 1 'eval of one that is not there' "$mnistq" eval "no$name" --data idx
    check '... clean' clean "$TMP/err"
    check_status 2 'a usage error' "$mnistq" eval "$name" "$name" --data idx
    check '... clean' clean "$TMP/err"
    check '--help with it as a default' "$mnistq" train --data "$name" --help
    check '... clean' clean "$TMP/out"
done

# ---- names of 255 bytes -------------------------------------------------------------------------------------------------

longest=$(printf '%0255d' 0)
check 'a model with a name of 255 bytes' "$mnistq" train --data idx --hidden 8 --out "$longest"
check '... is read' "$mnistq" quantize "$longest" --data idx --calibration 100 --out "q$(printf '%0254d' 0)"
check_status 1 'of 256' "$mnistq" train --data idx --hidden 8 --epochs 1000 --out "0$longest"
check_grep 'File name too long' "$TMP/err" '... is refused, before the work'

# ---- standard output, started through the loader ---------------------------------------------------------------------------

if command -v script >/dev/null && script -qec true /dev/null >/dev/null 2>&1; then
    script -qec "'$mnistq' quantize $fp32 --data idx --calibration 100 --out -" /dev/null >typed </dev/null
    check_grep 'quantize: --out -: a terminal cannot show such a file' typed 'a model is not written to a terminal'
    check '... in one line' [ "$(wc -l <typed)" -eq 1 ]
    script -qec "'$mnistq' quantize $fp32 --data idx --calibration 100 --out - >piped.st" /dev/null >typed </dev/null
    check '... but where it is sent on' "$mnistq" inspect piped.st
else
    skip 'a model is not written to a terminal' 'there is no script to make one'
fi

loader=$(ldd "$mnistq" 2>/dev/null | sed -n 's/^[[:space:]]*\(\/.*ld-linux[^ ]*\) .*/\1/p')
if [ -x "$loader" ] && "$loader" "$mnistq" --version >/dev/null 2>&1; then
    unset MNISTQ_RESTARTED OPENBLAS_CORETYPE GOMP_SPINCOUNT
    check 'started through the loader, it starts the same again' "$loader" "$mnistq" eval $int8 --data idx --json
    cp "$TMP/out" loaded
    "$mnistq" eval $int8 --data idx --json >direct
    check '... and answers the same' cmp loaded direct
    rm -rf reused
    for _ in 1 2; do "$loader" "$mnistq" exercise --data idx --hidden 8 --calibration 100 --results reused --reuse >said 2>&1; done
    check_grep 'nothing to do' said '... and knows its results again'
    check_grep "^# program SHA-256: $(sha256sum <"$mnistq" | cut -d' ' -f1)$" reused/.exercise '... as those of this program, not of the loader'
else
    skip 'started through the loader' 'there is no ld-linux'
fi

tap_done
