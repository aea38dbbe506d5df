#!/bin/sh
# TAP tests of bad input: the right exit status, one line on stderr that names the culprit, no file written or
# changed. From the root of the repository:
#   BUILD=build sh tests/cli/badinput.sh
# shellcheck disable=SC2317,SC2086 # functions are called through check; numbers are not quoted
# shellcheck disable=SC2012,SC2059,SC2238 # bytes are written with printf and octal escapes; cut is a file here

. tests/cli/tap.sh

tap_program
mkdir "$TMP/w"
cd "$TMP/w" || exit 1 # everything is in here, and nothing of it may change
make_digits idx 300 50
"$mnistq" train --data idx --hidden 12,8 --out fp32 --quiet || tap_bail 'train does not work'
"$mnistq" quantize fp32 --data idx --out int8 --calibration 100 >/dev/null || tap_bail 'quantize does not work'
size() { wc -c <"$1" | tr -d ' '; }

# ---- the check ------------------------------------------------------------------------------------------------

export OPENBLAS_NUM_THREADS=1 MNISTQ_RESTARTED=core # a command is one process, of one thread
listing() { ls -AliR .; } # a file that is renamed into place has another inode, one written to another size
good() { cksum fp32 int8 idx/*; }
sums=$(good)

refused() { # STATUS TEXT COMMAND...: TEXT is what the one line on stderr has to contain
    want=$1 text=$2
    shift 2
    before=$(listing)
    "$@" >"$TMP/stdout" 2>"$TMP/stderr" </dev/null
    got=$?
    after=$(listing)
    unlike=
    [ $got -eq $want ] || unlike="exit status $got, not $want"
    if read -r first && ! read -r _; then
        case $first in "mnistq: "*"$text"*) ;; *) unlike="$unlike; not with mnistq: at its beginning, or without: $text" ;; esac
    else
        unlike="$unlike; not one line"
    fi <"$TMP/stderr"
    [ ! -s "$TMP/stdout" ] || unlike="$unlike; there is something on stdout"
    [ "$before" = "$after" ] || unlike="$unlike; files came or changed: $after"
    [ -z "$unlike" ] && return
    echo "$unlike"
    cat "$TMP/stderr"
    return 1
}
bad() { # STATUS TEXT ARGUMENT...
    bad_status=$1 bad_text=$2
    shift 2
    check "$*" refused $bad_status "$bad_text" "$mnistq" "$@"
}

# ---- the command line ------------------------------------------------------------------------------------------

bad 2 '"frobnicate"' frobnicate
bad 2 'did you mean train?' trian
bad 2 'there is no command "frobnicate" (see' help frobnicate
bad 2 'did you mean --hidden?' train --hiden 5
bad 2 'did you mean minmax?' quantize fp32 --data idx --out new --observer minmx
bad 2 'there is no format "int8/rwo"; did you mean int8/row?' quantize fp32 --data idx --out new --format int8/rwo
bad 2 'there is no method of this format "gtpq"; did you mean gptq?' quantize fp32 --data idx --out new --format int4/56 --method gtpq
bad 2 'there is no fault "no-zero-pint"; did you mean no-zero-point?' eval int8 --data idx --break no-zero-pint
bad 2 'there is no claim "exercise-siz"; did you mean exercise-size?' audit --data idx --results new --only exercise-siz
bad 2 'is the beginning of 2 options' train --s 1
bad 2 'takes no value' train --data idx --json=yes --out new
bad 2 'standard output' eval int8 --data idx --predictions - --codes -
bad 1 'standard input: is 0 bytes' inspect -
bad 2 '"--json"' --json
bad 2 'no kernel of that name; this CPU runs' eval int8 --data idx --kernel nosuch
bad 2 'no kernel of that name' --kernel=nosuch eval int8 --data idx
bad 2 'no kernel of that name' eval int8 --data idx --kernel
bad 2 'there is no command' --keep-blas-core --quiet frobnicate
bad 2 '"TRAIN"' TRAIN
for command in train quantize eval predict inspect exercise sweep; do
    bad 2 '--frobnicate' $command --frobnicate
    bad 2 '-x' $command -x
    bad 2 '-x' $command -xy a b
done
bad 2 '--out' train --data idx
bad 2 '--out' quantize fp32 --data idx
bad 2 '--data needs a value' train --out new --data
bad 2 'MODEL' quantize --data idx --out new
bad 2 'MODEL' eval --data idx
bad 2 '"int8"' eval fp32 int8 --data idx
bad 2 'FILE' inspect
bad 2 'IMAGE' predict fp32
bad 2 '"stray"' train --data idx --out new stray
bad 2 '"stray"' exercise --data idx --results new stray
for hidden in 0 -5 256,,3 ,256 '256,' '' x 256x '256 256' 1e3 99999999 9999999999999999999999 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16; do
    bad 2 "--hidden: expected" train --data idx --out new --hidden "$hidden"
done
for seed in x -1 '' 1.5 18446744073709551616 '1 ' ' 1' ' -1' +1; do bad 2 "--seed" train --data idx --out new --seed "$seed"; done
for epochs in -1 0 x 1.5 99999999999; do bad 2 '--epochs' train --data idx --out new --epochs "$epochs"; done
for calibration in 0 -1 x ''; do bad 2 '--calibration' quantize fp32 --data idx --out new --calibration "$calibration"; done
for rate in ' 0.1' +0.1 0x1 0 -1 nan inf x 1e99; do bad 2 '--rate' train --data idx --out new --rate "$rate"; done
bad 2 '--batch' train --data idx --out new --batch 0
bad 2 '--validation' train --data idx --out new --validation -1
bad 2 '--optimizer' train --data idx --out new --optimizer lbfgs
bad 2 '--observer' quantize fp32 --data idx --out new --observer foo
bad 2 '--activations' quantize fp32 --data idx --out new --activations foo
bad 2 '--scheme' quantize fp32 --data idx --out new --scheme both
bad 2 '--scheme' exercise --data idx --results new --scheme foo
bad 2 '--seeds' sweep --data idx --results new --seeds 0
bad 2 '--calibration' exercise --data idx --results new --calibration 0
bad 2 '--results' exercise --data idx --results ''
bad 2 '--results' sweep --data idx --results ''

# ---- options that go with others -------------------------------------------------------------------------------

bad 2 '--cpu takes no file' inspect --cpu int8
bad 2 '--results goes with --histogram' inspect --cpu --results new
bad 2 '--results goes with --histogram' inspect int8 --results new
bad 2 '--data goes with --histogram or --weights-png' inspect int8 --data idx
bad 2 '--fp32 goes with --histogram or --weights-png' inspect int8 --fp32 fp32
bad 1 'int8' inspect int8 --histogram --fp32 int8
bad 2 'there is no fault "nosuch"; --break list names them' eval int8 --data idx --break nosuch
bad 1 '--codes' eval fp32 --data idx --codes new
bad 2 'there is no method of this format "nosuch"; --format list names them' quantize fp32 --data idx --out new --format int4/row --method nosuch

# ---- more than there is ------------------------------------------------------------------------------------------

bad 1 '--validation 300' train --data idx --out new --validation 300
bad 1 '--validation 999999' train --data idx --out int8 --validation 999999
bad 1 '--validation 300' exercise --data idx --results new --validation 300
bad 1 '--calibration 301' quantize fp32 --data idx --out new --calibration 301
bad 1 '--calibration 301' quantize fp32 --data idx --out int8 --calibration 301
bad 1 '--calibration 512' exercise --data idx --results new
bad 1 '--calibration 512' sweep --data idx --results new --seeds 1

# ---- data ---------------------------------------------------------------------------------------------------------

bad_data() { # NAME TEXT: the folder NAME is refused by each that reads it
    bad 1 "$2" train --data "$1" --out new
    bad 1 "$2" train --data "$1" --out int8
    bad 1 "$2" quantize fp32 --data "$1" --out new
    bad 1 "$2" exercise --data "$1" --results new --calibration 100
}
bad_test_data() { # the same, and it shows in the test images too
    bad_data "$@"
    bad 1 "$2" eval fp32 --data "$1" --predictions new
    bad 1 "$2" eval int8 --data "$1" --predictions fp32
}
variant() { # NAME: a copy of the data to be spoilt
    rm -rf spoilt-*
    cp -R idx "spoilt-$1"
    cd "spoilt-$1" || exit 1
}
poke() { # FILE OFFSET BYTES: bytes as printf wants them
    printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

bad_test_data no-such-folder no-such-folder/t
bad_test_data fp32 'fp32: Not a directory'
mkdir empty
bad_test_data empty empty/t
variant cut && head -c 20000 ../idx/train-images-idx3-ubyte >train-images-idx3-ubyte && cd ..
bad_data spoilt-cut train-images-idx3-ubyte
variant by-one && head -c 57 ../idx/t10k-labels-idx1-ubyte >t10k-labels-idx1-ubyte && cd ..
bad_test_data spoilt-by-one t10k-labels-idx1-ubyte
variant header && head -c 11 ../idx/t10k-images-idx3-ubyte >t10k-images-idx3-ubyte && cd ..
bad_test_data spoilt-header t10k-images-idx3-ubyte
variant nothing && : >t10k-images-idx3-ubyte && cd ..
bad_test_data spoilt-nothing t10k-images-idx3-ubyte
variant longer && echo >>t10k-images-idx3-ubyte && cd ..
bad_test_data spoilt-longer t10k-images-idx3-ubyte
variant magic && poke t10k-images-idx3-ubyte 2 '\015' && cd .. # floats
bad_test_data spoilt-magic 'wrong magic number'
variant swapped && cp ../idx/t10k-labels-idx1-ubyte t10k-images-idx3-ubyte && cd ..
bad_test_data spoilt-swapped 'wrong magic number'
variant text && echo 'not found' >t10k-labels-idx1-ubyte && cd ..
bad_test_data spoilt-text 'wrong magic number'
variant count && poke t10k-images-idx3-ubyte 4 '\377\377\377\377' && cd ..
bad_test_data spoilt-count t10k-images-idx3-ubyte
variant claims && poke t10k-images-idx3-ubyte 4 '\000\377\377\377' && cd ..
bad_test_data spoilt-claims t10k-images-idx3-ubyte
variant none && poke t10k-images-idx3-ubyte 4 '\000\000\000\000' && cd ..
bad_test_data spoilt-none 'holds no images'
variant rows && poke t10k-images-idx3-ubyte 8 '\000\000\000\000' && cd ..
bad_test_data spoilt-rows t10k-images-idx3-ubyte
variant pixels && poke t10k-images-idx3-ubyte 8 '\177\377\377\377\177\377\377\377' && cd ..
bad_test_data spoilt-pixels t10k-images-idx3-ubyte
variant fewer && poke t10k-labels-idx1-ubyte 4 '\000\000\000\060' && head -c 56 t10k-labels-idx1-ubyte >l && mv l t10k-labels-idx1-ubyte && cd ..
bad_test_data spoilt-fewer '48 labels for the 50 images'
variant label && poke t10k-labels-idx1-ubyte 57 '\012' && cd ..
bad_test_data spoilt-label 'the label of test image 49 is 10'
variant train-label && poke train-labels-idx1-ubyte 57 '\310' && cd ..
bad 1 'the highest training label is 200, but 190 of the 201 classes' train --data spoilt-train-label --out new
variant one-class && "$BUILD/tests/make_idx" . 1 1 && poke train-labels-idx1-ubyte 8 '\000' && cd ..
bad 1 'spoilt-one-class' train --data spoilt-one-class --out new
variant geometry && "$BUILD/tests/make_idx" x 300 50 20 16 && mv x/t10k-images-idx3-ubyte . && rm -r x && cd ..
bad_data spoilt-geometry '20 x 16'
variant missing && rm train-labels-idx1-ubyte && cd ..
bad_data spoilt-missing spoilt-missing/train-labels-idx1-ubyte
variant folder && rm t10k-labels-idx1-ubyte && mkdir t10k-labels-idx1-ubyte && cd ..
bad_test_data spoilt-folder t10k-labels-idx1-ubyte
for cut in 5 100 5000 -9 -8 -4 -1; do # into gzip's header, its data, its checksum
    variant "gz$cut" && gzip t10k-images-idx3-ubyte
    [ $cut -gt 0 ] || cut=$(($(size t10k-images-idx3-ubyte.gz) + cut))
    head -c $cut t10k-images-idx3-ubyte.gz >x
    mv x t10k-images-idx3-ubyte.gz
    cd ..
    bad 1 t10k-images-idx3-ubyte.gz eval fp32 --data spoilt-gz*
done
variant gz-bytes && gzip t10k-images-idx3-ubyte && poke t10k-images-idx3-ubyte.gz 5000 '\252\125\252\125\252\125' && cd ..
bad_test_data spoilt-gz-bytes t10k-images-idx3-ubyte.gz
variant gz-sum && gzip t10k-images-idx3-ubyte && poke t10k-images-idx3-ubyte.gz $(($(size t10k-images-idx3-ubyte.gz) - 8)) '\001\002\003\004' && cd ..
bad_test_data spoilt-gz-sum t10k-images-idx3-ubyte.gz
variant gz-longer && gzip t10k-images-idx3-ubyte && printf 'x' | gzip >>t10k-images-idx3-ubyte.gz && cd ..
bad_test_data spoilt-gz-longer t10k-images-idx3-ubyte.gz
variant gz-tail && gzip t10k-images-idx3-ubyte && printf 'x' >>t10k-images-idx3-ubyte.gz && cd ..
bad_test_data spoilt-gz-tail t10k-images-idx3-ubyte.gz
for cut in 1 4 8; do # what zlib reads ahead of must not matter: a file of more than one of its buffers
    rm -rf spoilt-big && mkdir spoilt-big && cp idx/* spoilt-big
    gzip -1 spoilt-big/train-images-idx3-ubyte
    head -c -$cut spoilt-big/train-images-idx3-ubyte.gz >x 2>/dev/null || {
        skip 'a large .gz without its last bytes' 'head does not know -c -N'
        break
    }
    mv x spoilt-big/train-images-idx3-ubyte.gz
    bad 1 train-images-idx3-ubyte.gz train --data spoilt-big --out new
done
rm -rf spoilt-* x

# ---- models -------------------------------------------------------------------------------------------------------

bad_model() { # FILE TEXT: refused by all that run it
    bad 1 "$2" eval "$1" --data idx --predictions new
    bad 1 "$2" quantize "$1" --data idx --out new
    bad 1 "$2" predict "$1" image.pgm
}
bad_file() { # FILE TEXT: it is not even a safetensors file
    bad_model "$1" "$2"
    bad 1 "$2" inspect "$1"
}
{
    printf 'P5\n28 28\n255\n'
    tail -c +17 idx/t10k-images-idx3-ubyte | head -c 784
} >image.pgm
check 'the picture is a good one' "$mnistq" predict fp32 image.pgm

bad_file no-such-model no-such-model
bad_file idx idx
bad_file /dev/null /dev/null
bad 1 int8 quantize int8 --data idx --out new
for name in fp32 int8; do
    header=$(od -An -tu1 -N2 $name | awk '{ print $1 + 256 * $2 }')
    whole=$(size $name)
    for length in 0 1 7 8 9 $((header / 2)) $((header + 7)) $((header + 8)) $((header + 9)) $((whole / 2)) $((whole - 1)); do
        head -c $length $name >cut
        bad_file cut cut
    done
    { cat $name && echo; } >longer
    bad_file longer longer
done
echo 'This is a text. It is not a model, although it is long enough to be one.' >text
bad_file text text
bad_file idx/train-images-idx3-ubyte idx/train-images-idx3-ubyte
rm -f cut longer text

safetensors() { # HEADER BYTES: a file with this JSON and so many zeros
    awk -v n=${#1} 'BEGIN { printf "\\%03o\\%03o\\000\\000\\000\\000\\000\\000", n % 256, n / 256 }' >"$TMP/length"
    printf "$(cat "$TMP/length")"
    printf '%s' "$1"
    head -c "$2" /dev/zero
}
hostile() { # TEXT HEADER BYTES
    safetensors "$2" "$3" >hostile
    bad_file hostile "$1"
}
w='"dtype":"F32","shape":[2,3],"data_offsets"'
safetensors "{\"x\":{$w:[0,24]}}" 24 >hostile
check 'a file with one foreign tensor can be inspected' "$mnistq" inspect hostile
bad_model hostile 'order of layers: found x'
hostile hostile '' 0
hostile hostile '{' 0
hostile hostile '{}x' 0
hostile hostile 'nul' 0
hostile hostile '[1,2]' 0
hostile hostile '"text"' 0
hostile hostile '{"x":1}' 0
hostile hostile '{"x":null}' 0
hostile hostile '{"x":[]}' 0
hostile hostile '{"x":{}}' 0
hostile hostile '{"__metadata__":3}' 0
hostile hostile '{"__metadata__":{"a":3}}' 0
hostile hostile '{"x":{"dtype":"F32","shape":[2,3]}}' 24
hostile hostile '{"x":{"dtype":"I64","shape":[3],"data_offsets":[0,24]}}' 24
hostile hostile '{"x":{"dtype":32,"shape":[2,3],"data_offsets":[0,24]}}' 24
hostile hostile '{"x":{"dtype":"F32","shape":"2,3","data_offsets":[0,24]}}' 24
hostile hostile '{"x":{"dtype":"F32","shape":[2.5],"data_offsets":[0,10]}}' 10
hostile hostile '{"x":{"dtype":"F32","shape":[-2,-3],"data_offsets":[0,24]}}' 24
hostile hostile '{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}' 0
hostile hostile '{"x":{"dtype":"F32","shape":[1e999],"data_offsets":[0,24]}}' 24
hostile hostile '{"x":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}' 4
hostile hostile "{\"x\":{$w:[0,20]}}" 24
hostile hostile "{\"x\":{$w:[0,28]}}" 28
hostile hostile "{\"x\":{$w:[24,0]}}" 24
hostile hostile "{\"x\":{$w:[-24,0]}}" 24
hostile hostile "{\"x\":{$w:[1e300,1e300]}}" 24
hostile hostile "{\"x\":{$w:[18446744073709551592,18446744073709551616]}}" 24
hostile hostile "{\"x\":{$w:[0,24,48]}}" 24
hostile hostile "{\"x\":{$w:[0,24]}}" 25
hostile hostile "{\"x\":{$w:[1,25]}}" 25
hostile overlap "{\"x\":{$w:[0,24]},\"y\":{$w:[0,24]}}" 24
hostile overlap "{\"x\":{$w:[0,24]},\"y\":{$w:[20,44]}}" 44
hostile belong "{\"x\":{$w:[0,24]},\"y\":{$w:[28,52]}}" 52
hostile 'two tensors' "{\"x\":{$w:[0,24]},\"x\":{$w:[24,48]}}" 48
hostile hostile "$(awk 'BEGIN { for (i = 0; i < 20000; i++) printf "["; }')" 0
hostile hostile "$(awk 'BEGIN { for (i = 0; i < 5000; i++) printf "{\"a\":"; }')" 0
hostile hostile "{\"$(awk 'BEGIN { for (i = 0; i < 30000; i++) printf "n"; }')\":{$w:[0,24]}}" 24
hostile hostile "$(awk 'BEGIN { printf "{"; for (i = 0; i < 500; i++) printf "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "", i; printf "}" }')" 0
hostile hostile "{\"line one\\nmnistq: line two\":{$w:[0,2]}}" 2
printf '\377\377\377\377\377\377\377\377{}' >hostile
bad_file hostile hostile
printf '\000\000\000\000\000\000\000\200{}' >hostile
bad_file hostile hostile
# Fits the grammar: inspect shows it, nothing else takes it.
huge=9007199254740992
safetensors "{\"x\":{\"dtype\":\"F32\",\"shape\":[0,$huge,$huge,$huge,$huge,$huge,$huge,$huge],\"data_offsets\":[0,0]}}" 0 >hostile
check 'inspect: an empty tensor of 8 large dimensions' "$mnistq" inspect hostile
bad_model hostile hostile
rm -f hostile

edited() { # FROM TO: int8 with its header edited, its length kept
    LC_ALL=C sed "s/$1/$2/" int8 >edited
    [ "$(size edited)" -eq "$(size int8)" ] && differ
}
differ() { ! cmp -s int8 edited; }
bad_edit() { # TEXT FROM TO
    if edited "$2" "$3"; then bad_model edited "$1"; else tap_fail "edit $2 to $3" 'the model has no such text'; fi
}
bad_edit fc1.bias '"fc1.bias":{"dtype":"I32"' '"fc1.bias":{"dtype":"F32"'
bad_edit fc2.bias '"fc2.bias"' '"fc2.bi_s"'
bad_edit output_scale '"output_scale"' '"output_skale"'
bad_edit edited '\[12,784\]' '[784,12]'
bad_edit fc2.weight '\[8,12\]' '[12,8]'
bad_edit fc1.weight_scale '"fc1.weight_scale":{"dtype":"F32"' '"fc1.weight_scale":{"dtype":"I32"'
bad_edit edited '"fc1.weight"' '"fc1_weight"'

offset() { # TENSOR: where its bytes are in int8
    LC_ALL=C sed -n "1s/.*\"$1\":{[^}]*\"data_offsets\":\[\([0-9]*\),.*/\1/p" int8 | awk -v header="$header" '{ print $1 + header + 8 }'
}
for tensor in fc1.weight_scale fc2.input_scale output_scale fc3.weight_scale; do
    for value in '\000\000\000\000' '\000\000\000\200' '\000\000\300\177' '\000\000\200\177' '\000\000\200\377' '\000\000\200\277'; do
        cp int8 edited
        poke edited "$(offset $tensor)" "$value" # 0, -0, NaN, Inf, -Inf, -1
        if differ; then bad_model edited edited; else tap_fail "$tensor $value" 'nothing was changed'; fi
    done
done
fp32_header=$(od -An -tu1 -N2 fp32 | awk '{ print $1 + 256 * $2 }')
cp fp32 edited
poke edited $((fp32_header + 8)) '\000\000\300\177'
bad_model edited edited
rm -f edited

variant three && poke train-labels-idx1-ubyte 8 "$(awk 'BEGIN { for (i = 0; i < 300; i++) printf "\\%03o", i % 3 }')" &&
    { head -c 8 t10k-labels-idx1-ubyte && head -c 50 /dev/zero; } >l && mv l t10k-labels-idx1-ubyte && cd ..
check 'a model of three classes' "$mnistq" train --data spoilt-three --hidden 4 --out three
bad 1 'out of range for 3 classes' eval three --data idx --predictions new
bad 1 'out of range for 3 classes' quantize three --data idx --out new --calibration 100
rm -rf spoilt-*

# ---- pictures -------------------------------------------------------------------------------------------------------

bad_picture() { bad 1 "$1" predict fp32 "$1"; }
bad_picture no-such-picture
bad_picture idx
bad_picture int8
: >nothing
bad_picture nothing
head -c 500 image.pgm >cut.pgm
bad_picture cut.pgm
printf 'P5\n99999 99999\n255\n' >large.pgm
bad_picture large.pgm
{ printf 'P5\n28 28\n255\n' && head -c 784 /dev/zero; } >blank.pgm
bad_picture blank.pgm
printf '\211PNG\r\n\032\n\000\000\000\015IHDR\000\000\000\034\000\000\000\034\010\000\000\000\000' >cut.png
bad_picture cut.png
bad 1 'edited' predict edited image.pgm
rm -f nothing ./*.pgm cut.png

# ---- where it cannot be written -------------------------------------------------------------------------------------

bad 1 nowhere/new train --data idx --hidden 4 --out nowhere/new
bad 1 nowhere/new quantize fp32 --data idx --calibration 100 --out nowhere/new
bad 1 nowhere/new eval fp32 --data idx --predictions nowhere/new
bad 1 empty train --data idx --hidden 4 --out empty
bad 1 empty quantize fp32 --data idx --calibration 100 --out empty
bad 1 empty eval fp32 --data idx --predictions empty
bad 1 'empty' train --data idx --hidden 4 --out ''
bad 1 int8/new train --data idx --hidden 4 --out int8/new
bad 1 int8 exercise --data idx --hidden 4 --calibration 100 --results int8
bad 1 int8/deep exercise --data idx --hidden 4 --calibration 100 --results int8/deep
bad 1 int8 sweep --data idx --hidden 4 --calibration 100 --seeds 1 --results int8
if [ -d /proc/self ]; then
    bad 1 /proc/nowhere train --data idx --hidden 4 --out /proc/nowhere
    bad 1 /proc/nowhere exercise --data idx --hidden 4 --calibration 100 --results /proc/nowhere
else
    skip 'a folder that nobody can write' 'there is no /proc'
fi
if [ "$(id -u)" -ne 0 ]; then
    mkdir locked && chmod 555 locked
    bad 1 locked/new train --data idx --hidden 4 --out locked/new
    bad 1 locked/new exercise --data idx --hidden 4 --calibration 100 --results locked/new
    chmod 755 locked && rmdir locked
else
    skip 'a read-only folder' 'root may write everywhere'
fi

if [ -c /dev/full ]; then
    bad 1 /dev/full train --data idx --hidden 4 --out /dev/full
    bad 1 /dev/full quantize fp32 --data idx --calibration 100 --out /dev/full
    bad 1 /dev/full eval fp32 --data idx --predictions /dev/full
    to_full() { "$mnistq" "$@" >/dev/full; }
    for command in "--help" "eval fp32 --data idx" "eval fp32 --data idx --json" "inspect fp32" "inspect fp32 --json" "train --help"; do
        check "$command >/dev/full" refused 1 'standard output' to_full $command
    done
else
    skip 'a full disk' 'there is no /dev/full'
fi

# A file that may not grow over some KiB stands for a disk that becomes full while a file is written.
limited() {
    (
        ulimit -f 8 # 4 KiB or 8 KiB, less than either model
        exec "$mnistq" "$@"
    )
}
check 'a disk full half way: train' refused 1 new limited train --data idx --hidden 64 --out new
check 'a disk full half way: train over a good file' refused 1 int8 limited train --data idx --hidden 64 --out int8
check 'a disk full half way: quantize over a good file' refused 1 fp32 limited quantize fp32 --data idx --calibration 100 --out fp32
mkdir -p results/models
check 'a disk full half way: exercise' refused 1 models/fp32.safetensors limited exercise --data idx --hidden 64 --calibration 100 --results results

check 'the good files are what they were' [ "$(good)" = "$sums" ]
check 'the good models are still good: fp32' "$mnistq" eval fp32 --data idx
check 'the good models are still good: int8' "$mnistq" eval int8 --data idx

tap_done
