#!/bin/sh
# The same answers from every compiler and machine: tests/test_kernels.c as a plain program (each kernel against the
# reference), and tests/cross.c, which runs model files of every kind. s390x is big-endian: the files are little-endian,
# and st_copy turns their numbers. A target whose tools are missing is skipped. `make cross` takes them all, with CROSS=WORD
# those of that name; `make test` those that differ most. Debian: clang musl-tools qemu-user gcc-aarch64-linux-gnu
# libc6-dev-arm64-cross gcc-s390x-linux-gnu libc6-dev-s390x-cross
# shellcheck shell=sh disable=SC2086,SC2317 # many words; functions are called through check
. tests/cli/tap.sh

BUILD=${BUILD:-build}
CROSS=${CROSS:-sample}
# name | in the sample | compiler and flags | what runs the program
targets='gcc-O0       no      gcc -O0
gcc-O3       always  gcc -O3
gcc-native   no      gcc -O3 -march=native
gcc-Ofast    sample  gcc -Ofast
clang        no      clang -O2
musl         no      musl-gcc -O2 -static
aarch64      sample  aarch64-linux-gnu-gcc -O2 -static | qemu-aarch64
s390x        sample  s390x-linux-gnu-gcc -O2 -static -fexcess-precision=fast | qemu-s390x'

rooms=$(printf '%s\n' src/base/*.c src/nn/*.c src/quant/*.c src/quant/kernels/*.c src/lowbit/*.c src/model/*.c |
    grep -v -e src/nn/gemm.c -e embed_file)
kernels='src/quant/qlinear.c src/quant/qmlp.c src/base/rng.c src/base/block.c src/base/text.c'
flags='-std=c11 -D_GNU_SOURCE -Wall -Wextra -Wno-unknown-pragmas -ffp-contract=off -fno-math-errno -Isrc -Iinclude'
sections='-ffunction-sections -fdata-sections -Wl,--gc-sections'

# With -std=c11 gcc gives s390x floats the precision of double between operations; "fast" means what it has: single.

# ---- the models ----
data=$TMP/data
mkdir "$data" "$TMP/models"
make_digits "$data" 400 64
tail -c +17 "$data/t10k-images-idx3-ubyte" >"$TMP/images"
mnistq() { "$BUILD/mnistq" "$@" --quiet; }
mnistq train --data "$data" --hidden 64,32 --out "$TMP/models/fp32" || tap_bail 'train failed'
while read -r name options; do
    mnistq quantize "$TMP/models/fp32" --data "$data" --calibration 64 --out "$TMP/models/$name" $options || tap_bail "$name failed"
done <<END_OF_MODELS
int8 --scheme per-channel
int8-tensor --scheme per-tensor --activations symmetric
int4 --format int4
int2 --format int2/row --method qat
dynamic --format int8/row --method dynamic
vector-wise --format int8/row --method llm.int8
bf16 --format bf16
f16 --format f16
gptq --format int4/56 --method gptq
awq --format int4/56 --method awq
nf4 --format nf4-dq
q4_K --format q4_K
q8_0 --format q8_0
END_OF_MODELS
{ head -c -4 "$TMP/models/fp32" && printf '\000\000\300\177'; } >"$TMP/models/nan" # its last weight is a NaN

# ---- the targets ----
echo 'int main(void) { return 0; }' >"$TMP/empty.c"
build() { # SOURCES EXTRA OUT
    $compiler $flags $2 $1 -lm -o "$TMP/$3"
}
answers() { $runner "$TMP/cross" "$TMP/images" "$TMP"/models/* >"$TMP/answers-$name" && [ -s "$TMP/answers-$name" ]; }
same_answers() {
    case $name in *-Ofast) pattern='integer\|refused' ;; *) pattern=. ;; esac # -Ofast adds floats in any order
    for file in answers-gcc-O3 "answers-$name"; do grep "$pattern" "$TMP/$file" | sort -u >"$TMP/$file-sorted"; done
    diff "$TMP/answers-gcc-O3-sorted" "$TMP/answers-$name-sorted"
}
target() { # NAME SAMPLE COMPILER...: with what runs the program in $runner
    name=$1 in_sample=$2
    shift 2
    compiler=$* tool=$1
    case $CROSS,$in_sample in
    sample,no) return ;;
    *,always | sample,* | all,*) ;;
    *) case $name in *"$CROSS"*) ;; *) return ;; esac ;;
    esac
    for missing in $tool $runner; do
        command -v "$missing" >/dev/null 2>&1 || { skip "$name: the same answers" "there is no $missing"; return; }
    done
    $compiler "$TMP/empty.c" -o "$TMP/empty" 2>/dev/null || { skip "$name: the same answers" "$compiler links nothing"; return; }
    check "$name: the rooms build" build "tests/cross.c $rooms" "$sections" cross
    check "$name: model files of every kind are run" answers
    check "$name: the same answers as by gcc -O3" same_answers
    check "$name: the engine builds" build "tests/test_kernels.c $kernels src/quant/kernels/*.c" "$sections -DPLAIN_MAIN" kernels
    check "$name: its kernels equal the reference" $runner "$TMP/kernels"
    check_grep '^kernel portable: [1-9][0-9]{6,} codes$' "$TMP/out" "$name: plain C was run"
    [ "$name" != aarch64 ] || check_grep '^kernel neon-dot: [1-9][0-9]{6,} codes$' "$TMP/out" 'aarch64: sdot was run'
}
printf 'gcc-O3 always gcc -O3\n%s\n' "$targets" | awk '!seen[$1]++' >"$TMP/targets" # what the others are compared with first
while read -r line; do
    case $line in *'|'*) runner=${line##*| } ;; *) runner= ;; esac
    target ${line%%|*}
done <"$TMP/targets"

refused() { [ "$(grep -c '^nan refused: .*finite' "$TMP/answers-gcc-O3")" -eq 1 ]; }
check 'a NaN is refused' refused
check_grep '^int8 integer' "$TMP/answers-gcc-O3" 'integers were run'
check_grep '^q4_K float' "$TMP/answers-gcc-O3" 'floats were run'
tap_done
