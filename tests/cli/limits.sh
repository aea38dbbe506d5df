#!/bin/sh
# TAP tests of little room: limits of the shell on addresses and processes, data and models that would fill memory, data
# with nothing on it or of an odd shape. From the root of the repository:
#   BUILD=build sh tests/cli/limits.sh
# shellcheck disable=SC2317,SC2015,SC2016,SC2059,SC2086,SC3045 # functions are called through check; echo does not fail; formats of ours;
# a sh without ulimit -v is told below

. tests/cli/tap.sh

tap_program
cd "$TMP" || exit 1
make_digits idx 400 100
"$mnistq" train --data idx --hidden 8 --out fp32 --quiet || tap_bail 'train does not work'

# ---- ulimit -v: OpenBLAS tries for ever where it cannot have its 128 MiB a thread --------------------------------

within() { # KIB COMMAND...: done, or one line about memory; never longer than 30 s
    limit=$1
    shift
    (ulimit -v "$limit" && exec timeout 30 "$@") >"$TMP/stdout" 2>"$TMP/stderr"
    status=$?
    [ $status -eq 0 ] && [ ! -s "$TMP/stderr" ] && return
    [ $status -eq 1 ] && [ "$(wc -l <"$TMP/stderr")" -eq 1 ] && grep '^mnistq: .*out of memory' "$TMP/stderr" ||
        { echo "exit status $status: $(cat "$TMP/stderr")"; return 1; }
}
too_few() { within 120000 "$mnistq" train --data idx --hidden 8 --out new && [ $status -eq 1 ]; }
if (ulimit -v 500000 && "$mnistq" --version >/dev/null 2>&1); then
    for kib in 90000 150000 200000 300000 400000 500000; do
        check "ulimit -v $kib: --version" within $kib "$mnistq" --version
        check '... help' within $kib "$mnistq" train --help
        check '... train' within $kib "$mnistq" train --data idx --hidden 8 --out new
        check '... eval' within $kib "$mnistq" eval fp32 --data idx
    done
    check '500000 KiB are enough' [ "$status" -eq 0 ]
    check '120000 are not' too_few
else
    skip 'ulimit -v' 'the program cannot be limited here (a sanitizer, or a system without)'
fi

# ---- ulimit -u ------------------------------------------------------------------------------------------------------

alone() { bash -c 'ulimit -u 1 && exec "$@"' sh "$mnistq" eval "$TMP/fp32" --data "$TMP/idx"; }
as_nobody() { setpriv --reuid 65534 --clear-groups bash -c 'ulimit -u 1 && exec "$@"' sh "$mnistq" eval "$TMP/fp32" --data "$TMP/idx"; }
run=
if ! command -v bash >/dev/null; then why='there is no bash, whose ulimit knows -u'
elif [ "$(id -u)" -ne 0 ]; then run=alone
elif chmod 755 "$TMP" && setpriv --reuid 65534 --clear-groups "$mnistq" --version >/dev/null 2>&1; then run=as_nobody
else why='the superuser has no such limit'
fi
if [ -n "$run" ]; then
    check 'ulimit -u 1: works with one thread' $run
    cp "$TMP/err" said
    check 'ulimit -u 1: and says so in one line, at most' [ "$(wc -l <said)" -le 1 ]
    check_no_grep 'OpenBLAS' said 'ulimit -u 1: ... of ours'
else
    skip 'ulimit -u 1' "$why"
fi

# ---- data: by the headers, before the rest -------------------------------------------------------------------------

header() { # FILE BYTE...: as octal escapes
    file=$1
    shift
    printf "$(printf '\\%s' "$@")" >"$file"
}
mkdir large
for part in train t10k; do # 1,000,000 images of 64 x 64, none of which is there
    header large/$part-images-idx3-ubyte 0 0 10 3 0 17 102 100 0 0 0 100 0 0 0 100
    header large/$part-labels-idx1-ubyte 0 0 10 1 0 17 102 100
    gzip large/$part-images-idx3-ubyte
done
check_status 1 'more images than memory is meant for' "$mnistq" train --data large --out new
check_grep '^mnistq: large: images and labels are 7815 MiB, more than the 1024 MiB for a data set .--memory-limit.$' "$TMP/err" '... a clear line'
check_status 1 '... of the test files alone' "$mnistq" eval fp32 --data large
check_grep '3908 MiB' "$TMP/err" '... their own bytes'
check_status 1 '... and a limit that allows it' "$mnistq" eval fp32 --data large --memory-limit 4000
check_grep 'is cut short' "$TMP/err" '... reads them'
check_status 1 'a limit of one MiB is kept' "$mnistq" exercise --data large --memory-limit 1 --results none
check 'a limit that is kept to changes nothing' "$mnistq" eval fp32 --data idx --memory-limit 1
check_status 2 'a limit of none' "$mnistq" eval fp32 --data idx --memory-limit 0

# ---- models: the same -------------------------------------------------------------------------------------------------

sparse() { # NAME HEADER BYTES: so long, and nothing behind the header
    {
        awk -v n=${#2} 'BEGIN { printf "\\%03o\\%03o\\000\\000\\000\\000\\000\\000", n % 256, n / 256 }' >length
        printf "$(cat length)" && printf %s "$2"
    } >"$1" && truncate -s $((8 + ${#2} + $3)) "$1"
}
peak() { # KIB COMMAND...: its resident memory stays below
    most=$1
    shift
    "$@" 2>said &
    child=$!
    highest=0
    while kill -0 $child 2>/dev/null; do
        now=$(awk '/^VmHWM/ { print $2 }' /proc/$child/status 2>/dev/null)
        [ "${now:-0}" -le $highest ] || highest=$now
    done
    wait $child
    status=$?
    echo "$highest KiB, exit status $status: $(cat said)"
    [ "$highest" -le "$most" ] && [ $status -eq 1 ] && [ "$(wc -l <said)" -eq 1 ]
}
if truncate -s 3G zeros 2>/dev/null && [ -r /proc/self/status ]; then
    sparse foreign '{"x":{"dtype":"U8","shape":[3000000000],"data_offsets":[0,3000000000]}}' 3000000000
    sparse padded '{"fc1.weight":{"dtype":"F32","shape":[10,784],"data_offsets":[0,31360]},"x":{"dtype":"U8","shape":[3000000000],"data_offsets":[31360,3000031360]}}' 3000031360
    check 'a sparse file of 3 GiB is no model: 200 MB do' peak 200000 "$mnistq" eval zeros --data idx
    check '... nor does inspect take more' peak 200000 "$mnistq" inspect zeros
    check '... or one with a foreign tensor' peak 200000 "$mnistq" eval foreign --data idx
    check '... or one behind a good header' peak 200000 "$mnistq" eval padded --data idx
    check_status 1 'zeros without end on standard input' timeout 20 sh -c '"$1" eval - --data idx </dev/zero' sh "$mnistq"
    check_grep 'not a safetensors file' "$TMP/err" '... are told by the first eight'
else
    skip 'sparse files' 'they cannot be made, or /proc is not there'
fi
rm -f zeros foreign padded

# ---- wide images, and images with nothing on them ------------------------------------------------------------------

images() { # FOLDER ROWS COLS PIXELS FILE: 40 images, their sides in two octal bytes each, of the bytes of FILE
    mkdir "$1"
    for part in train t10k; do
        header "$1/$part-images-idx3-ubyte" 0 0 10 3 0 0 0 50 0 0 "$2" "$3" 0 0 "$4" "$5"
        head -c $((40 * $6)) "$7" >>"$1/$part-images-idx3-ubyte"
        { header "$1/l" 0 0 10 1 0 0 0 50 && cat "$1/l" && tail -c +9 idx/t10k-labels-idx1-ubyte | head -c 40; } >"$1/$part-labels-idx1-ubyte"
        rm "$1/l"
    done
}
images wide 0 1 20 0 4096 /dev/urandom # 1 x 4096, and the other way round
images high 20 0 0 1 4096 /dev/urandom
for shape in wide high; do
    check "$shape images" "$mnistq" exercise --data $shape --hidden 8 --calibration 20 --results r-$shape
    check '... are drawn' [ -s r-$shape/changed.png ]
    check '... and their weights' "$mnistq" inspect r-$shape/models/fp32.safetensors --data $shape --weights-png r-$shape/w.png
done
images black 0 34 0 34 784 /dev/zero
models=r-black/models
check 'black images: the exercise' "$mnistq" exercise --data black --hidden 8 --calibration 20 --results r-black
cat "$TMP/out" >shown
for command in 'pitfalls --hidden 8 --calibration 20' 'sweep --seeds 1 --hidden 8 --calibration 20' \
    "compare $models/fp32.safetensors $models/int8-per-channel.safetensors" \
    "trace $models/int8-per-channel.safetensors --fp32 $models/fp32.safetensors" \
    "ladder $models/fp32.safetensors --images 20 --calibration 20" 'audit --no-run --hidden 8 --calibration 20'; do
    # shellcheck disable=SC2086 # words
    check "black images: ${command%% *}" "$mnistq" $command --data black --results r-black
    cat "$TMP/out" >>shown
done
find r-black -name '*.csv' -o -name '*.md' -o -name '*.txt' -o -name '*.svg' -o -name '*.html' | while read -r file; do cat "$file"; done >>shown
check_no_grep '(^|[^a-z])-?(nan|inf)([^a-z]|$)' shown 'black images: no number that is none is printed'

tap_done
