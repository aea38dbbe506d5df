#!/bin/sh
# TAP tests of `mnistq export`: what comes out is compiled, or read by NumPy, and gives the engine's codes. On MNIST where
# MNIST_DIR has it, else on drawn digits. From the root of the repository:
#   BUILD=build sh tests/cli/export.sh
# shellcheck disable=SC2317,SC2086 # functions are called through check; many flags

. tests/cli/tap.sh

tap_program
root=$PWD
data=${MNIST_DIR:-$TMP/idx}
case $data in /*) ;; *) data=$PWD/$data ;; esac
[ -n "${MNIST_DIR-}" ] || make_digits "$TMP/idx" 3000 1000
make_digits "$TMP/few" 50 20
cd "$TMP" || exit 1
make() { "$mnistq" quantize fp32 --data "$data" --quiet "$@" || tap_bail "quantize does not work"; }
"$mnistq" train --data "$data" --hidden 33,20 --out fp32 --quiet || tap_bail 'train does not work'
make --out int8
make --out symmetric --scheme per-tensor --activations symmetric
make --out int4 --format int4
make --out int2 --format int2/row --method qat
make --out q4_0 --format q4_0
make --out bf16 --format bf16
make --out fp8 --format fp8_e4m3/row
make --out int4-row --format int4/row

refused() { # TEXT COMMAND...: exit 1, one line that holds TEXT, no file
    text=$1
    shift
    "$mnistq" export "$@" >out 2>err
    [ $? -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q "^mnistq: .*$text" err && [ ! -e new ] && [ -z "$(find . -name 'new*')" ]
}
# ---- C -----------------------------------------------------------------------------------------------------------------

gzip -dcf "$data"/t10k-images*3-ubyte* >test-images
pixels=$(($(wc -c <test-images) - 16))
images_h() { # COUNT
    echo "static const uint8_t images[$1][INPUTS] = {"
    tail -c +17 test-images | head -c $(($1 * 784)) | od -An -v -tu1 -w784 | sed 's/  */,/g; s/^,/{/; s/$/},/'
    echo '};'
}
letters() { "$mnistq" eval "$1" --data "$data" --predictions - --quiet 2>/dev/null | awk -F, '$1 ~ /^[0-9]+$/ { printf "%c", 97 + $3 } END { print "" }'; }
strict='-std=c99 -O2 -Wall -Wextra -Wconversion -Wsign-conversion -Wcast-qual -Wshadow -pedantic -Werror'
runs_alike() { # MODEL COMPILER...: all images, without a warning
    model=$1
    shift
    "$@" $strict -DMODEL_H="\"$model.h\"" -I. "$root/tests/export_main.c" -o "$model-c" && ./"$model-c" >"$model.classes" &&
        cmp "$model.classes" "$model.letters"
}
images_h $((pixels / 784)) >images.h
for model in int8 symmetric int4 int2; do
    check "c: $model is written" "$mnistq" export $model --format c --out $model.h
    letters $model >$model.letters
    for cc in "${CC:-cc}" clang; do
        if command -v $cc >/dev/null; then check "c: $model, $cc: every image as the engine, no warning" runs_alike $model $cc
        else skip "c: $model, $cc" 'no such compiler'; fi
    done
done
check_grep '^static const uint8_t fc1_weight' int4.h 'c: 4-bit weights are two a byte'
check_no_grep 'float|double|malloc|stdlib' int8.h 'c: no float, no allocation'
compiles() { "${CC:-cc}" $strict -DMODEL_H="\"$1.h\"" -I. "$root/tests/export_main.c" -o "$1-c"; }
sed '/fc3_bias/ { n; s/[0-9]/9/g; }' int8.h >broken.h
check 'c: a header whose numbers were changed compiles' compiles broken
check_status 1 '... and self_test tells' ./broken-c
two() {
    "$mnistq" export int8 --format c --prefix a_ --out a.h --quiet && "$mnistq" export int4 --format c --prefix b_ --out b.h --quiet &&
        printf '#include "a.h"\n#include "b.h"\nint main(void) { return a_self_test() + b_self_test(); }\n' >two.c &&
        "${CC:-cc}" $strict two.c -o two && ./two
}
check 'c: --prefix: two models in one program' two

flash_is_the_tables() { # the last row against the sizes of the arrays in an object file
    "$mnistq" export int8 --format c --out x.h --json >x.json &&
        printf '#include "int8.h"\nint f(const uint8_t *p) { return predict(p); }\n' | "${CC:-cc}" -std=c99 -O0 -c -I. -x c - -o size.o &&
        nm -S size.o | sed -n 's/^[^ ]* \([0-9a-f]*\) . fc[0-9]_.*/\1/p' >sizes && [ "$(wc -l <sizes)" -eq 12 ] || return
    bytes=0
    while read -r size; do bytes=$((bytes + 0x$size)); done <sizes
    [ "$(json_rows x.json flash_bytes | tail -n 1)" -eq $bytes ]
}
check 'c: flash bytes are those of the tables' flash_is_the_tables

images_h 100 >images.h
for model in int8 int4; do head -c 100 $model.letters | sed 's/$/&/' >$model.first && echo >>$model.first; done
on_cortex() { # MODEL MACHINE CPU
    arm-none-eabi-gcc -std=c99 -Os -mcpu=$3 -mthumb -ffreestanding -nostdlib -Wall -Wextra -Werror -DMODEL_H="\"$1.h\"" -I. \
        "$root/tests/export_main.c" -Wl,--section-start=.vectors=0 -Wl,-Ttext=0x100 -Wl,-Tbss=0x20000000 -lgcc -o $1.elf &&
        timeout 60 qemu-system-arm -M $2 -display none -monitor none -serial none -semihosting-config enable=on,target=native \
            -kernel $1.elf >$1.arm 2>&1 && cmp $1.arm $1.first
}
on_aarch64() { aarch64-linux-gnu-gcc -static $strict -DMODEL_H="\"$1.h\"" -I. "$root/tests/export_main.c" -o $1-a64 && qemu-aarch64 ./$1-a64 | cmp - $1.first; }
for model in int8 int4; do
    if command -v arm-none-eabi-gcc >/dev/null && command -v qemu-system-arm >/dev/null; then
        check "c: $model on a Cortex-M3" on_cortex $model mps2-an385 cortex-m3
        check "c: $model on a Cortex-M7" on_cortex $model mps2-an500 cortex-m7
    else skip "c: $model on a Cortex-M" 'no arm-none-eabi-gcc or qemu-system-arm'; fi
    if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; then check "c: $model on AArch64" on_aarch64 $model
    else skip "c: $model on AArch64" 'no aarch64-linux-gnu-gcc or qemu-aarch64'; fi
done

# ---- NumPy -------------------------------------------------------------------------------------------------------------

for model in fp32 int8 int4 q4_0 bf16 fp8; do check "npy: $model" "$mnistq" export $model --format npy --out $model.npz; done
check 'npy: layer inputs' "$mnistq" export int8 --data "$data" --format npy --calibration 7 --out inputs.npz
if command -v unzip >/dev/null; then check 'npy: unzip finds no fault' unzip -tq inputs.npz; else skip 'npy: unzip' 'no unzip'; fi
python=
for p in python3 /usr/bin/python3; do $p -c 'import numpy' 2>/dev/null && python=$p; done
equal_arrays() { $python - "$@" <<'END'
import json, numpy as np, sys
for name in ("fp32", "int8", "int4", "q4_0", "fp8"):
    data = open(name, "rb").read()
    n = int.from_bytes(data[:8], "little")
    header, z = json.loads(data[8:8 + n]), np.load(name + ".npz")
    for tensor, t in header.items():
        if tensor == "__metadata__": continue
        assert list(z[tensor].shape) == t["shape"], tensor
        assert z[tensor].tobytes() == data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]], tensor
bf16, fp32, q4_0 = np.load("bf16.npz"), np.load("fp32.npz"), np.load("q4_0.npz")
assert np.abs(bf16["fc1.weight"] - fp32["fc1.weight"]).max() <= np.abs(fp32["fc1.weight"]).max() / 256
step = q4_0["fc1.weight"].reshape(-1, 18)[:, :2].copy().view("<f2").astype("f4")  # a block: its scale, 16 bytes
low, high = (q4_0["fc1.weight"].reshape(-1, 18)[:, 2:] & 15), (q4_0["fc1.weight"].reshape(-1, 18)[:, 2:] >> 4)
values = (step * (np.hstack([low, high]).astype("f4") - 8)).reshape(33, -1)[:, :784]
assert (values == q4_0["fc1.weight_values"]).all()
z = np.load("inputs.npz")
assert z["fc1.input"].shape == (7, 784) and z["fc3.input"].shape == (7, 20) and z["output"].dtype == np.uint8
END
}
numpy_agrees() {
    "$mnistq" eval $1 --data "$data" --codes codes.csv --predictions classes.csv --quiet && gzip -c test-images >images.gz &&
        $python "$root/scripts/check_numpy.py" $1 images.gz codes.csv classes.csv
}
numpy_notices() { sed '2s/[0-9]*$/99/' classes.csv >wrong.csv && ! $python "$root/scripts/check_numpy.py" int8 images.gz codes.csv wrong.csv; }
if [ -n "$python" ]; then
    check 'npy: NumPy reads the very bytes of the tensors' equal_arrays
    for model in int8 symmetric; do check "check_numpy.py: $model, every code and class" numpy_agrees $model; done
    check 'check_numpy.py notices another class' numpy_notices
    check 'check_numpy.py has less than 60 lines' [ "$(wc -l <"$root/scripts/check_numpy.py")" -lt 60 ]
else skip 'npy and check_numpy.py' 'no python3 with numpy'; fi

# ---- GGUF --------------------------------------------------------------------------------------------------------------

make --out mix --format q4_K+q6_K
same_classes() { # MODEL: as a GGUF file it gives the same answers
    "$mnistq" export "$1" --format gguf --out "$1.gguf" --quiet && "$mnistq" eval "$1" --data "$data" --predictions a.csv --quiet &&
        "$mnistq" eval "$1.gguf" --data "$data" --predictions b.csv --quiet && cmp a.csv b.csv
}
for model in fp32 q4_0 mix bf16; do check "gguf: $model comes back with the same answers" same_classes $model; done
quantized_alike() { "$mnistq" quantize fp32.gguf --data "$data" --out from-gguf --quiet && cmp from-gguf int8; }
check 'gguf: int8 made of fp32 in GGUF is int8 made of fp32' quantized_alike
check 'gguf: inspect counts every byte' "$mnistq" inspect mix.gguf
check_grep 'alignment' "$TMP/out" '... those between tensors too'
through_a_pipe() { "$mnistq" export mix --format "$1" --out - 2>/dev/null | cat >piped && "$mnistq" export mix --format "$1" --out whole --quiet && cmp piped whole; }
for form in gguf npy; do check "$form: through a pipe, which has no positions, the same file" through_a_pipe $form; done
head -c 5000 fp32.gguf >cut.gguf
check_status 1 'gguf: a file that is cut short' "$mnistq" eval cut.gguf --data "$data"
check_grep '^mnistq: cut.gguf: cut short' "$TMP/err" '... is told'

# ---- ONNX --------------------------------------------------------------------------------------------------------------

make --out f16 --format f16
runtime_agrees() { # MODEL: ONNX Runtime gives the same classes, but for ties
    "$mnistq" eval "$1" --data "$data" --predictions onnx.csv --quiet && node "$root/scripts/peers/onnx_check.mjs" "$1.onnx" test-images onnx.csv
}
checker='import onnx, sys; onnx.checker.check_model(onnx.load(sys.argv[1]), True)'
if "$mnistq" export fp32 --format onnx --out fp32.onnx --quiet 2>err; then
    for model in fp32 int8 symmetric f16 bf16; do
        check "onnx: $model is written" "$mnistq" export $model --format onnx --out $model.onnx
        if /usr/bin/python3 -c 'import onnx' 2>/dev/null; then check "onnx: $model passes ONNX's checker" /usr/bin/python3 -c "$checker" $model.onnx
        else skip "onnx: $model, ONNX's checker" 'no python3-onnx'; fi
        [ $model != bf16 ] || continue # the engine rounds activations to bf16 too
        if [ -d "$root/build/peers/node_modules/onnxruntime-node" ]; then check "onnx: $model, every class in ONNX Runtime" runtime_agrees $model
        else skip "onnx: $model in ONNX Runtime" 'make peers-install gets it'; fi
    done
    check 'onnx: q4_0 is refused' refused 'ONNX export takes' q4_0 --format onnx --out new
else
    check_grep 'install_deps.sh --onnx' err 'onnx: a build without it says how to get it'
    skip 'onnx' 'built without protobuf-c or onnx.proto'
fi

# ---- networks that others saved: other names, no metadata --------------------------------------------------------------

LC_ALL=C sed 's/"fc\([123]\)[.]/"L.\1./g; s/"architecture"/"Architecture"/' fp32 >theirs
their_codes() { # FILE NAME
    "$mnistq" quantize "$1" --data "$data" --out "$2" --quiet && "$mnistq" eval "$2" --data "$data" --codes "$2.csv" --quiet
}
same_codes() { their_codes theirs int8-theirs && their_codes fp32 int8-ours && cmp int8-theirs.csv int8-ours.csv; }
check 'a network with names L.1.weight gives the codes of ours' same_codes
check 'it is exported under our names' "$mnistq" export theirs --format gguf --out theirs.gguf
check 'as bytes that are read back' "$mnistq" eval theirs.gguf --data "$data"
LC_ALL=C sed 's/"L[.]2[.]/"L.7./g' theirs >gap
check 'a layer that is missing is refused with what was found' refused 'is missing: found L.*L.7.weight F32' gap --format npy --out new

# ---- what cannot be exported -------------------------------------------------------------------------------------------

for model in fp32 q4_0 bf16; do check "c: $model is refused" refused "$model.*integer" $model --format c --out new; done
check 'gguf: a format that ggml has not is named' refused 'fc1.weight in int4/row' int4-row --format gguf --out new
check 'gguf: int8 is refused' refused 'GGUF has no models with activations in integers' int8 --format gguf --out new
check 'a folder that is not there' refused 'cannot be written' int8 --format c --out none/new
check 'a model that is none' refused 'err' err --format npy --out new
check_status 2 'no --format' "$mnistq" export int8 --out new
check_status 2 'a form that is none' "$mnistq" export int8 --format nyp --out new
check_grep 'npy' "$TMP/err" '... and which was meant'
check_status 2 'a prefix that is no name in C' "$mnistq" export int8 --format c --prefix 'a b' --out new
check 'more images than there are' refused 'training images' int8 --data "$TMP/few" --format npy --calibration 10000 --out new

tap_done
