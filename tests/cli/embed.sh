# build/libmnistq.a in other programs, and examples/: a C++ client and the int8 lesson in one file give the answers of
# the engine, on MNIST's test images where MNIST_DIR has them, else on drawn digits.
# shellcheck shell=sh
. tests/cli/tap.sh

BUILD=${BUILD:-build}
CC=${CC:-cc} CXX=${CXX:-c++}
mnistq=$BUILD/mnistq library=$BUILD/libmnistq.a
unset RESULTS

# A library built for a sanitizer or for coverage needs its runtime.
extra=
case $(nm "$library" 2>/dev/null) in
*__asan_*) extra=-fsanitize=address,undefined ;;
*__gcov_*) extra=--coverage ;;
esac

# ---- what it exports and needs ----

exported() { nm -g --defined-only "$library" | awk 'NF == 3 { print $3 }' | sort; }
promised() { grep -o 'mnistq_[a-z_]*(' include/mnistq.h | tr -d '(' | sort -u; }
only_promised() { exported >"$TMP/exported" && promised >"$TMP/promised" && diff "$TMP/promised" "$TMP/exported"; }
[ -n "$extra" ] || check 'the library exports what mnistq.h promises, and nothing else' only_promised
[ -n "$extra" ] || {
    nm -u "$library" >"$TMP/needed"
    check_no_grep 'cblas|openblas|omp_|GOMP|dpotr|gz(open|read)|EVP_|SHA256|cJSON' "$TMP/needed" \
        'it needs no BLAS, OpenMP, zlib, OpenSSL, cJSON'
    nm -u "$library" | sed -n '1,/embed_file/p' >"$TMP/needed"
    check_no_grep 'fopen|fread|mkstemp|pthread|umask|setlocale|getenv' "$TMP/needed" \
        'a program with its model in memory gets no file code, and nothing that changes the process'
}

# ---- the programs ----

# shellcheck disable=SC2086 # many words, as in make
{
    check 'runq.c compiles as C11 without a warning' \
        $CC -std=c11 -O2 -Wall -Wextra -pedantic -Werror examples/runq.c -lm -o "$TMP/runq"
    check 'mnistq.h is C99' $CC -std=c99 -Wall -Wextra -pedantic -Werror -fsyntax-only -x c include/mnistq.h
    command -v ${CXX%% *} >/dev/null 2>&1 && cxx=yes || cxx=
    if [ -n "$cxx" ]; then
        check 'a C++ client links with libm alone' $CXX -std=c++11 -O2 -Wall -Wextra -Werror -Iinclude \
            $extra examples/embed.cpp "$library" -lm -o "$TMP/embed"
    else
        skip 'a C++ client links with libm alone' "there is no $CXX"
    fi
}

# ---- the images: IMAGES LABELS, plain; DATA for mnistq ----

data=${MNIST_DIR:-}
if [ -s "$data/t10k-images-idx3-ubyte.gz" ]; then
    for part in images-idx3 labels-idx1; do gzip -dc "$data/t10k-$part-ubyte.gz" >"$TMP/t10k-$part-ubyte"; done
    expected=10000
else
    make_digits "$TMP" 2000 500
    data=$TMP expected=500
fi
images=$TMP/t10k-images-idx3-ubyte labels=$TMP/t10k-labels-idx1-ubyte

check 'a network is trained' "$mnistq" train --data "$data" --hidden 64 --seed 5 --out "$TMP/fp32"
quantize() { "$mnistq" quantize "$TMP/fp32" --data "$data" "$@"; }
check 'quantize per channel' quantize --out "$TMP/channel"
check 'quantize per tensor, symmetric activations' quantize --scheme per-tensor --activations symmetric \
    --out "$TMP/tensor"
check 'quantize to bf16' quantize --format bf16 --out "$TMP/bf16"

same_as_runq() { # MODEL
    "$TMP/runq" "$TMP/$1" "$images" "$labels" --classes >"$TMP/said" &&
        "$mnistq" eval "$TMP/$1" --data "$data" --predictions "$TMP/eval.csv" >/dev/null &&
        sed '$d' "$TMP/said" >"$TMP/classes" && sed 1d "$TMP/eval.csv" | cut -d, -f3 | cmp - "$TMP/classes" &&
        [ "$(awk -F, 'NR > 1 && $2 == $3' "$TMP/eval.csv" | wc -l)" -eq "$(sed -n '$s/ of .* right,.*//p' "$TMP/said")" ] &&
        [ "$(wc -l <"$TMP/eval.csv")" -eq $((expected + 1)) ]
}
same_as_embed() { # MODEL MOST: at most that many other answers
    "$TMP/embed" "$TMP/$1" "$images" >"$TMP/classes" 2>"$TMP/layers" &&
        "$mnistq" eval "$TMP/$1" --data "$data" --predictions "$TMP/eval.csv" >/dev/null &&
        sed 1d "$TMP/eval.csv" | cut -d, -f3 | paste -d, - "$TMP/classes" |
        awk -F, -v n="$expected" -v most="$2" '$1 != $2 { other++ } END { exit NR != n || other + 0 > most }' &&
        [ "$(grep -c '^layer [0-9]: [1-9][0-9]* values' "$TMP/layers")" -eq 3 ]
}
for model in channel tensor; do
    check "runq.c answers as the engine does: $model" same_as_runq $model
    [ -z "$cxx" ] || check "the C++ client answers as the engine does: $model" same_as_embed $model 0
done
# Without BLAS sums of floats are rounded in another order: a tie may fall the other way.
[ -z "$cxx" ] || check 'fp32 runs without BLAS' same_as_embed fp32 $((expected / 1000))
[ -z "$cxx" ] || check 'bf16 runs without BLAS' same_as_embed bf16 $((expected / 1000))

# ---- files of an enemy ----

refused() { # WHAT COMMAND...: status 1 and one line that says what
    what=$1
    shift
    "$@" >"$TMP/stdout" 2>"$TMP/stderr"
    [ $? -eq 1 ] && [ "$(wc -l <"$TMP/stderr")" -eq 1 ] && grep -q "$what" "$TMP/stderr"
}
spoil() { sed "$1" "$TMP/channel" >"$TMP/spoiled"; } # the header is text; lengths stay
runq() { refused "$1" "$TMP/runq" "${2:-$TMP/spoiled}" "${3:-$images}" "${4:-$labels}"; }
check 'runq: an fp32 model is refused' runq 'fc1.input_scale: is missing, or has another type' "$TMP/fp32"
check 'runq: an image is no model' runq 'not a safetensors file' "$images"
check 'runq: labels are no images' runq 'is not such a file' "$TMP/channel" "$labels"
head -c 1000 "$images" >"$TMP/cut"
check 'runq: cut images are refused' runq 'cut' "$TMP/channel" "$TMP/cut"
head -c 7 "$labels" >"$TMP/cut"
check 'runq: a cut header is refused' runq 'cut' "$TMP/channel" "$images" "$TMP/cut"
{ cat "$labels" && echo; } >"$TMP/longer"
check 'runq: longer labels are refused' runq 'too long' "$TMP/channel" "$images" "$TMP/longer"
printf '\000\000\010\001\000\000\000\001\005' >"$TMP/one"
check 'runq: one label for all images is refused' runq 'one label for each image' "$TMP/channel" "$images" "$TMP/one"
check 'runq: a folder is refused' runq 'cannot be read' "$TMP/channel" "$TMP"
check 'runq: a missing file is refused' runq 'cannot be opened' "$TMP/channel" "$TMP/nowhere"
for size in 7 8 100 20000; do
    head -c $size "$TMP/channel" >"$TMP/spoiled"
    check "runq: a model cut after $size bytes is refused" runq 'runq: '
done
LC_ALL=C
export LC_ALL
refuses() { # EDIT WHAT: the header after EDIT, by sed
    spoil "$1"
    check "runq: refused after $1" runq "$2"
}
refuses 's/"shape":\[64,784\]/"shape":[64,884]/' 'fc1.weight: has other bytes than its shape'
refuses 's/"shape":\[64,784\]/"shape":[-4,784]/' 'fc1.weight: has other bytes than its shape'
refuses 's/"shape":\[64,784\]/"shape":[0,7845]/' 'fc1.weight: has another shape'
refuses 's/"shape":\[10,64\]/"shape":[10,65]/' 'fc2.weight: has another shape'
refuses 's/"data_offsets":\[0,/"data_offsets":[9,/' 'has other bytes'
refuses 's/"data_offsets":\[0,/"data_offset_":[0,/' 'has no shape and data_offsets'
refuses 's/"fc2.weight"/"fc2.height"/' 'fc2.weight: is missing'
refuses 's/"fc1.weight_scale":{"dtype":"F32"/"fc1.weight_scale":{"dtype":"F16"/' 'fc1.weight_scale: is missing, or has another type'
refuses 's/"output_scale"/"output_skale"/' 'output_scale: is missing'
refuses 's/"fc1.bias"/"fc1.bios"/' 'fc1.bias: is missing'
header=$(od -An -tu1 -N2 "$TMP/channel" | awk '{ print $1 + 256 * $2 }')
for bytes in '\000\000\300\177' '\000\000\200\177' '\000\000\000\000' '\000\000\200\277'; do # NaN, infinity, 0, -1
    cp "$TMP/channel" "$TMP/spoiled"
    # shellcheck disable=SC2059 # escapes of bytes
    printf "$bytes" | dd of="$TMP/spoiled" bs=1 seek=$((8 + header)) conv=notrunc 2>/dev/null
    check "runq: a scale of the bytes $bytes is refused" runq 'fc1.weight_scale: is not a finite number > 0'
done
spoil 's/"fc1.bias"/"fc1.bios"/'
if [ -n "$cxx" ]; then
    check 'embed: the library says what is wrong' refused 'tensor fc1.bias is missing' "$TMP/embed" "$TMP/spoiled" "$images"
    check 'embed: an image is no model' refused 'not a safetensors file' "$TMP/embed" "$images" "$images"
fi
tap_done
