#!/bin/sh
# TAP tests of the exercise on real MNIST, in $MNIST_DIR; without it each is counted as skipped.
# From the root of the repository:
#   BUILD=build MNIST_DIR=data/mnist sh tests/cli/mnist.sh
# shellcheck disable=SC2317,SC2086 # most functions are only called through check; numbers are not quoted

. tests/cli/tap.sh

tap_program
data=${MNIST_DIR:-}
r=$TMP/results
e=$r/exercise.csv

on_mnist() { # NAME COMMAND...
    if [ -n "$data" ]; then check "$@"; else skip "$1" 'real MNIST is not there (MNIST_DIR is not set)'; fi
}

cell() { # ROW COLUMN of exercise.csv
    grep -v '^#' "$e" | awk -F, -v row="$1" -v name="$2" '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) column = i }
        NR == row + 1 { print $column }'
}
at_least() { # A B [LESS]
    awk -v a="$1" -v b="$2" -v less="${3:-0}" 'BEGIN { print a, "at least", b + less; exit !(a != "" && a + 0 >= b + less) }'
}
within() { awk -v a="$1" -v b="$2" -v t="$3" 'BEGIN { d = a - b; print a, "and", b, "within", t; exit !(a != "" && b != "" && d <= t && -d <= t) }'; }

accuracy_of() { at_least "$(cell 1 accuracy_percent)" 96.9; }
int8_close() { within "$(cell "$1" accuracy_percent)" "$(cell 1 accuracy_percent)" 0.1501; } # ROW
ratio() { at_least "$(cell "$1" ratio)" "$2" && [ "$(wc -c <"$3")" -eq "$(cell "$1" file_bytes)" ]; } # ROW LEAST FILE
rows() { [ "$(grep -v '^#' "$e" | cut -d, -f1-3 | tr '\n' ' ')" = 'format,granularity,arithmetic fp32,-,fp32 int8,per-channel,integer int8,per-tensor,integer ' ]; }
counts() { [ "$(cell 1 n) $(cell 2 n) $(cell 3 n)" = '10000 10000 10000' ]; }
told() { grep -E -e "$1" "$e"; }

on_mnist 'exercise with its defaults' "$mnistq" exercise --data "$data" --results "$r"
on_mnist 'fp32, int8 per channel, int8 per tensor' rows
on_mnist '10000 test images each' counts
on_mnist 'the table tells of 60000 and 10000 images of 28 x 28, 10 classes' told '^# data: MNIST, 60000 training and 10000 test images of 28 x 28, 10 classes$'
on_mnist 'the SHA-256 is that of MNIST' told '^# data SHA-256: b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a$'
on_mnist 'the command is told' told "^# command: mnistq exercise --data $data --results"
on_mnist 'fp32: at least 96.9% after one epoch' accuracy_of
on_mnist 'int8 per channel: within 0.15 points of fp32' int8_close 2
on_mnist 'int8 per tensor: within 0.15 points of fp32' int8_close 3
on_mnist 'int8 per channel: its file is 3.92 times smaller' ratio 2 3.92 "$r/models/int8-per-channel.safetensors"
on_mnist 'int8 per tensor: its file is 3.95 times smaller' ratio 3 3.95 "$r/models/int8-per-tensor.safetensors"
on_mnist 'a picture of the changed digits' [ -s "$r/changed.png" ]

# ---- dark ink on light paper ------------------------------------------------------------------------------------

negative() { # MNIST with every byte b turned into 255 - b, in $TMP/negative
    mkdir "$TMP/negative" && all=$(awk 'BEGIN { for (b = 255; b >= 0; b--) printf "\\%03o", b }') || return
    for part in train t10k; do
        gzip -dc "$data/$part-images-idx3-ubyte.gz" >"$TMP/plain" && cp "$data/$part-labels-idx1-ubyte.gz" "$TMP/negative" &&
            { head -c 16 "$TMP/plain" && tail -c +17 "$TMP/plain" | LC_ALL=C tr '\000-\377' "$all"; } \
                >"$TMP/negative/$part-images-idx3-ubyte" || return
    done
    rm "$TMP/plain"
}
as_good() { # ROW: of the negative, against MNIST
    n=$(csv_cell "$TMP/negative-results/exercise.csv" "$1" accuracy_percent) && at_least "$n" "$(cell "$1" accuracy_percent)" -0.3
}
on_mnist 'the negative of MNIST' negative
on_mnist 'the exercise on it' "$mnistq" exercise --data "$TMP/negative" --results "$TMP/negative-results"
on_mnist 'fp32 learns it as well, to 0.3 points' as_good 1
on_mnist 'so does int8 per channel' as_good 2
on_mnist 'so does int8 per tensor' as_good 3
rm -rf "$TMP/negative"

# ---- test images as pictures ------------------------------------------------------------------------------------

draw() { # the first 20 test images as PGM
    gzip -dc "$data/t10k-images-idx3-ubyte.gz" | head -c $((16 + 20 * 784)) | tail -c +17 >"$TMP/pixels" || return
    for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do
        { printf 'P5\n28 28\n255\n' && tail -c +$((i * 784 + 1)) "$TMP/pixels" | head -c 784; } >"$TMP/$(printf %02d $i).pgm"
    done
}
as_pictures() { # MODEL: eval and predict answer the same
    "$mnistq" eval "$r/models/$1.safetensors" --data "$data" --predictions "$TMP/$1.csv" &&
        "$mnistq" predict "$r/models/$1.safetensors" "$TMP"/??.pgm >"$TMP/charts" || return
    sed -n 's/.*\.pgm: \([0-9]*\)$/\1/p' "$TMP/charts" >"$TMP/found"
    sed -n 2,21p "$TMP/$1.csv" | cut -d, -f3 >"$TMP/expected"
    [ "$(wc -l <"$TMP/found")" -eq 20 ] && diff "$TMP/expected" "$TMP/found"
}
labels() { # the first labels of MNIST's test set, as everybody knows them
    [ "$(sed -n 2,11p "$TMP/fp32.csv" | cut -d, -f2 | tr '\n' ' ')" = '7 2 1 0 4 1 4 9 5 9 ' ]
}
reference() { # MODEL: the plain integer reference answers as the kernel does
    "$mnistq" eval "$r/models/$1.safetensors" --data "$data" --reference --predictions "$TMP/reference.csv" &&
        cmp "$TMP/$1.csv" "$TMP/reference.csv" && [ "$(wc -l <"$TMP/reference.csv")" -eq 10001 ]
}
on_mnist '20 test images become pictures' draw
for model in fp32 int8-per-channel int8-per-tensor; do
    on_mnist "$model: pictures of 20 test images are answered as in the set" as_pictures $model
done
on_mnist 'the first ten labels' labels
on_mnist 'int8 per channel: reference and kernel agree on all 10000' reference int8-per-channel
on_mnist 'int8 per tensor: reference and kernel agree on all 10000' reference int8-per-tensor

tap_done
