#!/bin/sh
# `make fuzz`: each harness of tests/fuzz for SECONDS seconds, from a corpus that is made here: files that the program
# writes, those of tests/, and what earlier runs found new ($BUILD/fuzz/corpus). Ends with 1 at the first finding, whose
# input then lies in $BUILD/fuzz/findings. $BUILD/fuzz/executions counts, over all runs.
#   BUILD=build sh tests/fuzz/run.sh SECONDS [HARNESS...]
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- idx model picture options
fuzz=$BUILD/fuzz mnistq=$BUILD/mnistq
FUZZ_DATA=$(mktemp -d "${TMPDIR:-/tmp}/mnistq-fuzz.XXXXXX") || exit 1
export FUZZ_DATA OPENBLAS_NUM_THREADS=1
export ASAN_OPTIONS=allocator_may_return_null=1:quarantine_size_mb=8:detect_stack_use_after_return=0:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1
trap 'rm -rf "$FUZZ_DATA"' EXIT
trap 'exit 130' HUP INT TERM

quiet() { "$@" >"$FUZZ_DATA/log" 2>&1 || { cat "$FUZZ_DATA/log"; exit 1; }; }
write_models() { # DATA HIDDEN TO
    quiet "$mnistq" train --data "$1" --hidden "$2" --epochs 1 --out "$3-fp32"
    "$mnistq" quantize x --format list --json | sed -n 's/.*"format": "\([^"]*\)", "method": "\([^"]*\)".*/\1 \2/p' |
        sed 's|/56|/4|' | while read -r format method; do # blocks of 4 fit 12 inputs
        "$mnistq" quantize "$3-fp32" --data "$1" --calibration 20 --format "$format" --method "$method" --quiet \
            --out "$3-$(echo "$format-$method" | tr / _)" 2>/dev/null
    done
    for model in fp32 q4_0-rtn q4_K-rtn; do "$mnistq" export "$3-$model" --format gguf --out "$3-$model-gguf" --quiet 2>/dev/null; done
    quiet "$mnistq" quantize "$3-fp32" --data "$1" --calibration 20 --out "$3-int8"
    quiet "$mnistq" quantize "$3-fp32" --data "$1" --calibration 20 --scheme per-tensor --activations symmetric --out "$3-int8-tensor"
}
# Data for the commands that fuzz_model.c calls, and the first inputs.
make_corpora() {
    quiet "$BUILD/tests/make_idx" "$FUZZ_DATA/small" 40 8 3 4
    quiet "$BUILD/tests/make_idx" "$FUZZ_DATA/large" 40 8
    for name in idx model picture options small large out; do mkdir -p "$fuzz/corpus/$name" "$FUZZ_DATA/$name"; done
    write_models "$FUZZ_DATA/small" 5 "$FUZZ_DATA/model/small"
    write_models "$FUZZ_DATA/small" 32,4 "$FUZZ_DATA/model/deep"
    quiet "$mnistq" train --data "$FUZZ_DATA/large" --hidden 2 --out "$FUZZ_DATA/model/large"
    quiet "$mnistq" quantize "$FUZZ_DATA/model/large" --data "$FUZZ_DATA/large" --calibration 20 --out "$FUZZ_DATA/model/large-int8"
    { printf 'P5 28 28 255\n' && tail -c +17 "$FUZZ_DATA/large/t10k-images-idx3-ubyte" | head -c 784; } >"$FUZZ_DATA/digit.pgm"
    cp "$FUZZ_DATA"/small/t10k-* "$FUZZ_DATA/idx"
    for file in "$FUZZ_DATA"/small/t10k-*; do gzip -c "$file" >"$FUZZ_DATA/idx/${file##*/}.gz"; done
    cat "$FUZZ_DATA"/idx/*labels*.gz "$FUZZ_DATA"/idx/*labels*.gz >"$FUZZ_DATA/idx/two-members.gz"
    printf '\0\0\14\2\0\0\0\2\0\0\0\10\0\0\0\7%028d\0\0\0\11%028d' 0 0 >"$FUZZ_DATA/idx/labels-idx2-int"
    gzip -c "$FUZZ_DATA/idx/labels-idx2-int" >"$FUZZ_DATA/idx/labels-idx2-int.gz"
    find tests/cases -type f -size -20k 2>/dev/null | while read -r file; do
        case $file in
        *.png | *.jpg | *.bmp | *.p[gp]m) cp "$file" "$FUZZ_DATA/picture" ;;
        *.st | *.safetensors) cp "$file" "$FUZZ_DATA/model" ;;
        esac
    done
    cp "$FUZZ_DATA/digit.pgm" "$FUZZ_DATA/picture"
    printf 'P5 9 9 255\n%081d' 0 >"$FUZZ_DATA/picture/a.pgm"
    printf 'P2\n3 3\n255\n255 255 255 255 0 255 255 255 255\n' >"$FUZZ_DATA/picture/plain.pgm"
    printf 'P6 4 4 255\n%048d' 0 >"$FUZZ_DATA/picture/a.ppm"
    printf 'BM\102\0\0\0\0\0\0\0\66\0\0\0\50\0\0\0\2\0\0\0\2\0\0\0\1\0\30\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0000000000000000' \
        >"$FUZZ_DATA/picture/a.bmp"
    i=0
    for line in '--number|7|--real=0.25|file' '--list|256,256|--colour|green|--seed|18446744073709551615' '--help' \
        '--data|digits/|--results|x|--flag|--|--flag' '--numbr|3' '--flag=1' '--word' '-x' '--colour|greenich'; do
        i=$((i + 1))
        printf %s "$line" | tr '|' '\n' >"$FUZZ_DATA/options/$i"
    done
}
make_corpora

mkdir -p "$fuzz/findings"
for name; do
    most=4096
    [ "$name" = options ] && most=511
    [ "$name" = model ] && most=16384
    # shellcheck disable=SC2086 # several words
    "$fuzz/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=$most -timeout=20 -rss_limit_mb=3000 -malloc_limit_mb=2500 \
        -close_fd_mask=3 -print_final_stats=1 -reload=0 -artifact_prefix="$fuzz/findings/$name-" ${FUZZ_FLAGS-} \
        "$fuzz/corpus/$name" "$FUZZ_DATA/$name" >"$FUZZ_DATA/log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$FUZZ_DATA/log")
    echo "$name ${runs:-0}" >>"$fuzz/executions"
    if [ $status -ne 0 ]; then
        grep -v '^#[0-9]' "$FUZZ_DATA/log" | head -n 60
        echo "$name: a finding after ${runs:-0} executions; the input is in $fuzz/findings"
        exit 1
    fi
    echo "$name: ${runs:-0} executions in $seconds s, no finding"
done
awk '{ sum += $2 } END { printf "%d executions here so far\n", sum }' "$fuzz/executions"
