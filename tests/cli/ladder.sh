#!/bin/sh
# TAP tests of `mnistq ladder` on a small set of built-in digits. From the root of the repository:
#   BUILD=build sh tests/cli/ladder.sh
# shellcheck disable=SC2317 # most functions are only called through check

. tests/cli/tap.sh

tap_program
make_digits "$TMP/idx" 1500 200
cd "$TMP" || exit 1

ladder() { # RESULTS [OPTION...]
    ladder_results=$1
    shift
    "$mnistq" ladder --data idx --results "$ladder_results" --hidden 16 --epochs 2 --images 200 "$@"
}
size() { wc -c <"$1" | tr -d ' '; }
no_partial() { [ -z "$(find "$TMP" -name '*.partial*')" ]; }
rows() { # CSV: without header and notes; a comma within quotes becomes a semicolon
    grep -v '^#' "$1" | sed 1d | awk -F'"' -v OFS='' '{ for (i = 2; i <= NF; i += 2) gsub(",", ";", $i) } 1'
}
cell() { # CSV ROW COLUMN-NAME, rows from 1
    column=$(grep -v '^#' "$1" | sed 1q | tr ',' '\n' | grep -n -x "$3" | cut -d: -f1)
    rows "$1" | sed -n "$2p" | cut -d, -f"$column"
}
# ---- two seeds ----------------------------------------------------------------------------------------------

check 'help' "$mnistq" ladder --help
check_grep '^usage: mnistq ladder \[options\] \[MODEL\]' "$TMP/out" 'help: usage'
check_grep 'weights of a group: 56, or ' "$TMP/out" 'help: the default of --group'

check 'two seeds' ladder r --seeds 2 --json
cp "$TMP/out" out.json
check 'nothing on stderr when it is no terminal' [ ! -s "$TMP/err" ]
for file in ladder.md ladder.csv ladder-seeds.md ladder-seeds.csv ladder-methods.csv ladder.svg; do
    check "$file is there" [ -s "r/$file" ]
done
check 'nothing half-written is left' no_partial
rungs=$(rows r/ladder.csv | wc -l | tr -d ' ')
check 'many rungs' [ "$rungs" -ge 40 ]
check 'a file for each' [ "$(find r/models/ladder -name '*.safetensors' | wc -l)" -eq "$rungs" ]
check 'a row for each in the table of the seeds' [ "$(rows r/ladder-seeds.csv | wc -l)" -eq "$rungs" ]
check '--json: a row for each' [ "$(json_rows out.json format | wc -l)" -eq "$rungs" ]
check_grep '^<svg ' r/ladder.svg 'the picture is SVG'
check_grep '</svg>$' r/ladder.svg 'the picture is whole'
if command -v xmllint >/dev/null; then check 'the picture is XML' xmllint --noout r/ladder.svg; fi
check_grep 'Warning: 200 images for the 784 inputs of fc1: GPTQ.s Hessian has not full rank' r/ladder.md 'too few images: a warning'
check_no_grep 'Warning.*inputs of fc2' r/ladder.md '... not for the 16 inputs of fc2'
check_grep '^# seeds: 1 to 2' r/ladder.csv 'the seeds are told'
check_grep 'not MNIST' r/ladder.csv 'that these are not MNIST is told'

same_names() { # the two tables name the same rungs in the same order
    rows r/ladder.csv | cut -d, -f1,2 >a.names
    rows r/ladder-seeds.csv | cut -d, -f1,2 >b.names
    cmp a.names b.names && [ "$(sort a.names | uniq -d | wc -l)" -eq 0 ]
}
check 'the rungs are named alike, each once' same_names

# those of the codes and not much more; a small network pads its rows of 16 to blocks of 256
bits_are_sane() {
    rows r/ladder.csv | awk -F, '
        { b = $1; sub(/^[a-z]+/, "", b); sub(/[^0-9].*/, "", b); b += 0
          if ($1 ~ /^(ternary|bitnet)/) b = 1.6
          if ($1 ~ /^binary/) b = 1
          most = $1 ~ /_K/ ? 2 * b : 1.4 * b
          n++; if (b < 1 || !($4 >= b && $4 <= most)) { print; bad = 1 } }
        END { exit bad || n < 40 }'
}
check 'bits per weight are those of the format and its overhead' bits_are_sane
files_agree() { # bytes by stat, and the ratio
    i=0
    full=$(size r/models/ladder/00-*)
    for file in r/models/ladder/*; do
        i=$((i + 1))
        [ "$(cell r/ladder.csv "$i" file_bytes)" = "$(size "$file")" ] || { echo "$file" && return 1; }
        [ "$(cell r/ladder.csv "$i" ratio)" = "$(awk -v a="$full" -v b="$(size "$file")" 'BEGIN { printf "%.2f", a / b }')" ] ||
            { echo "$file" && return 1; }
    done
}
check 'file_bytes is what stat says' files_agree
seconds_and_speed() { rows r/ladder.csv | awk -F, '!($(NF - 1) >= 0 && $NF > 0) { print; bad = 1 } END { exit bad }'; }
check 'every rung has its seconds and its speed' seconds_and_speed
csv_plain() { sed 's/"[^"]*"/quoted/g' "$1" | grep -v '^#' | tail -n +2; }
apart_from_fp32() { # KL and SQNR of the logits: none of fp32 itself, all others some; the best of each number of bits
    csv_plain r/ladder-seeds.csv | awk -F, '
        NR == 1 { bad = $8 != 0 || $9 != "" }
        NR > 1 && $9 != "" && !($8 >= 0 && $9 > -20) { bad = 1 }
        NR > 1 { sum += $8; best += $10 == "best" }
        END { exit bad || !(sum > 0) || best < 4 || best > 12 }'
}
check 'KL and SQNR of the logits, and the best of its bits' apart_from_fp32
check_grep '^| \*\*4 bits\*\* |' r/ladder.md 'the table is grouped by bits'
check_grep '^int4/[0-9]*,AWQ,GPTQ,' r/ladder-methods.csv 'the methods: one against another'
methods_judged() { # with one seed nothing can be shown; with more, p decides
    csv_plain r/ladder-methods.csv | awk -F, '
        { n++; if (!($8 == "" ? $9 == "one seed" : $8 >= 0 && $8 <= 1 && ($8 < 0.05) == ($9 != "no difference"))) bad = 1 }
        END { exit bad || n < 10 }'
}
check 'the methods: shown where p is below 0.05' methods_judged
check 'the methods: a row for every claim, whose rungs are all there' [ "$(csv_plain r/ladder-methods.csv | wc -l)" -eq \
    "$(grep -c '^{"' "$tap_root/src/studies/ladder_claims.h")" ]
check 'the methods: none stands twice' [ -z "$(sed -n 's/^\({"[^A-Z]*\)[A-Z_]*,.*/\1/p' "$tap_root/src/studies/ladder_claims.h" | sort | uniq -d)" ]

# ---- every rung's file --------------------------------------------------------------------------------------

{
    printf 'P5\n28 28\n255\n'
    tail -c +17 idx/t10k-images-idx3-ubyte | head -c 784
} >digit.pgm
evaluated() { "$mnistq" eval "$1" --data idx --json | sed -n 's/.*"accuracy_percent":[^0-9]*\([0-9.]*\).*/\1/p'; }
evaluate_all() { # the file of each row gives its accuracy
    i=0
    for file in r/models/ladder/*; do
        i=$((i + 1))
        found=$(evaluated "$file")
        [ "$found" = "$(cell r/ladder.csv "$i" accuracy_percent)" ] || { echo "$file: $found" && return 1; }
    done
    [ -n "$found" ]
}
predict_all() {
    for file in r/models/ladder/*; do "$mnistq" predict "$file" digit.pgm >shown || { echo "$file" && return 1; }; done
    [ -s shown ]
}
inspect_all() { # every byte of a file is accounted for
    for file in r/models/ladder/*; do
        "$mnistq" inspect "$file" >shown || { echo "$file" && return 1; }
        [ "$(sed -n 's/^ *whole file *\([0-9]*\)$/\1/p' shown)" = "$(size "$file")" ] || { echo "$file" && return 1; }
    done
}
paired() { # changed >= fixed + broken; accuracy follows from fp32's, fixed and broken
    rows r/ladder.csv | awk -F, '
        NR == 1 { fp32 = $9 }
        { d = fp32 + ($13 - $14) / 2 - $9; if ($12 < $13 + $14 || d > 0.011 || d < -0.011) { print; bad = 1 } }
        END { exit bad || fp32 < 50 }'
}
check "each file gives the table's accuracy" evaluate_all

# bf16: which arithmetic is this CPU's is told by inspect --cpu; --kernel with another instruction set decodes
bf16=r/models/ladder/02-bf16-round-to-nearest.safetensors
"$mnistq" inspect --cpu >cpu.txt
arithmetic=$(sed -n 's/^ *bf16 models: \(.*\)\.$/\1/p' cpu.txt)
case $arithmetic in
'bf16 products, fp32 sums') check_grep '^ *a[mvx512]*-?bf16 .* runs it  *taken' cpu.txt 'inspect --cpu: a kernel of bf16 is there and taken' ;;
*) check 'inspect --cpu: bf16 is decoded where it is not taken' [ "$arithmetic" = 'fp32 after decode' ] ;;
esac
check "the bf16 rung says what ran: $arithmetic" \
    [ "$(cell r/ladder.csv 3 arithmetic)" = "$(echo "$arithmetic" | tr , ';')" ]
ran() { "$mnistq" eval --data idx --json "$@" >ran.json && json_value ran.json 'rows[0].arithmetic'; }
check 'bf16: eval' "$mnistq" eval $bf16 --data idx --predictions bf16.csv
check 'bf16: eval says what ran' [ "$(ran $bf16)" = "$arithmetic" ]
check 'bf16: the plain reference' "$mnistq" eval $bf16 --data idx --reference --predictions bf16-reference.csv
check 'bf16: reference and kernel agree' cmp bf16.csv bf16-reference.csv
check 'bf16: --kernel portable' "$mnistq" eval $bf16 --data idx --kernel portable --predictions bf16-decoded.csv
check 'bf16: --kernel portable decodes' [ "$(ran $bf16 --kernel portable)" = 'fp32 after decode' ]
nearly_alike() { [ "$(wc -l <"$1")" -eq 201 ] && [ "$(diff "$1" "$2" | grep -c '^<')" -le 4 ]; }
check 'bf16: decoded, nearly the same answers' nearly_alike bf16.csv bf16-decoded.csv
check 'bf16: bench' "$mnistq" bench $bf16 --data idx --no-training --batch 1,100 --runs 7 --results b
check 'bf16: bench says what ran' [ "$(csv_cell b/bench.csv 1 arithmetic)" = "$arithmetic" ]
check 'each file predicts' predict_all
check 'each file can be inspected' inspect_all
check 'accuracy, fixed and broken agree' paired
near_fp32() { rows r/ladder.csv | awk -F, '$1 ~ /16$|^int8|^q8_0/ && $2 != "QAT" { n++; if ($11 > 1.5 || $11 < -1.5) { print; bad = 1 } } END { exit bad || n < 7 }'; }
check '8 bits and more are near fp32' near_fp32
mean_of_seeds() { [ "$(rows r/ladder-seeds.csv | cut -d, -f5 | sort -u | wc -l)" -gt 10 ] && rows r/ladder-seeds.csv | awk -F, '!($6 != "" && $6 >= 0) { bad = 1 } END { exit bad }'; }
check 'two seeds have a mean and a spread' mean_of_seeds

# ---- quantize makes the same files ------------------------------------------------------------------------------

model=r/models/ladder/00-f32--.safetensors
"$mnistq" quantize --format list --json >list.json
json_rows list.json format,method >list.txt
check 'quantize --format list: a line for each rung' [ "$(wc -l <list.txt)" -eq "$rungs" ]
check 'quantize --format list: a format and a method name one rung' [ "$(sort list.txt | uniq -d | wc -l)" -eq 0 ]
same_files() {
    i=0
    while read -r format method; do
        "$mnistq" quantize $model --data idx --images 200 --format "$format" --method "$method" --out made >shown ||
            return 1
        cmp made "$(printf 'r/models/ladder/%02d-' $i)"* || return 1
        i=$((i + 1))
    done <list.txt
    [ $i -eq "$rungs" ]
}
check "quantize: each rung's file is the ladder's" same_files
first_method() { # FORMAT FILE: without --method
    "$mnistq" quantize $model --data idx --images 200 --format "$1" --out made >shown && cmp made "$2"
}
check 'quantize: the first method of a format is its default' first_method int4/row \
    r/models/ladder/*-int4-row-round-to-nearest.safetensors
check 'quantize: spaces in a format may stand or not' first_method 'q4_K + q6_K' \
    r/models/ladder/*-q4_K---q6_K-*Q4_K_M*.safetensors
piped() { # nothing but the model on standard output
    "$mnistq" quantize - --data idx --format nf4 --out made <$model >shown && cmp made r/models/ladder/*-nf4-NF4.safetensors &&
        "$mnistq" quantize $model --data idx --format nf4 --out - 2>shown | cmp - made
}
check 'quantize: - for the model and for the file' piped
check 'quantize: into /dev/null' "$mnistq" quantize $model --data idx --out /dev/null
check 'quantize: any group' "$mnistq" quantize $model --data idx --format int4/49 --method awq --images 100 --out made
check_grep 'made: [0-9]* bytes, [0-9.]* times smaller than the [0-9]* of fp32' "$TMP/out" '... its size and ratio'
check_grep ' s: [0-9.]* to read model and data, [0-9.]* to calibrate, [0-9.]* to quantize' "$TMP/out" '... where the time went'
check 'quantize: ... as the metadata says' sh -c "'$mnistq' inspect made | grep -q 'fc1.format: int4/49'"
for wrong in 'int4/56 --method static' 'uint4/row' 'int4/0' 'q4_k' 'int4/tensor --method gptq'; do
    # shellcheck disable=SC2086 # a format and perhaps a method
    check_status 2 "quantize --format $wrong" "$mnistq" quantize $model --data idx --out wrong.st --format $wrong
    check_grep '^mnistq: quantize: --(format: there is no format|method: there is no method of this format) "[^"]*".*--format list' "$TMP/err" '... says so'
done
check 'quantize: ... and writes nothing' [ ! -e wrong.st ]
check_status 1 'quantize: a group that divides nothing' "$mnistq" quantize $model --data idx --out wrong.st --format int4/5000

# ---- one given model ----------------------------------------------------------------------------------------

check 'a MODEL, another group and name' ladder one --group 49 --images 1 --name mine "$model"
for file in one/mine.md one/mine.csv one/mine-seeds.csv one/mine-methods.csv one/mine.svg one/models/mine/*-int4-49-GPTQ.safetensors; do
    check "a MODEL: $file" [ -s "$file" ]
done
check_grep '^int4/49,GPTQ,' one/mine.csv 'a MODEL: the group is that of --group'
check 'a MODEL: fp32 is the model' [ "$(cell one/mine.csv 1 accuracy_percent)" = "$(cell r/ladder.csv 1 accuracy_percent)" ]
check_grep '^# model: ' one/mine.csv 'a MODEL: its name is told'
check_grep 'Warning: 1 images for the 16 inputs of fc2' one/mine.md 'one image: a warning for fc2 too'
check_grep '^f32,-,32.000,,[0-9.]*,,' one/mine-seeds.csv 'a MODEL: one network has no spread'

# ---- other sets: defaults that fit them ---------------------------------------------------------------------

make_digits other 600 60 20 15
check 'images of 20 x 15, no options of the ladder' "$mnistq" ladder --data other --hidden 8,8,8 --seeds 1 --results o
check_grep '^int4/60,GPTQ,' o/ladder.csv '... groups of 60 divide the 300 pixels'
check_grep 'looked at 600 training images' o/ladder.md '... GPTQ looks at all images that there are'

make_digits prime 600 60 1 7
check 'seven pixels: train' "$mnistq" train --data prime --hidden 24,8,8 --out prime.st
check "a MODEL of them: the group is the model's" "$mnistq" ladder prime.st --data prime --results p
check_grep '^int4/24,GPTQ,' p/ladder.csv '... the most that divides its layers'
check_grep 'Group: 24 weights .*, the most up to 64 that divide the inputs of a layer' p/ladder.md '... is told'
layers_of() { grep -v '^#' "$1" | sed 1q | tr ',' '\n' | grep -c '^fc[0-9]*_output_error$'; }
check 'the table of the seeds has a column for each of 4 layers' [ "$(layers_of o/ladder-seeds.csv)" -eq 4 ]
check '... and of 2' [ "$(layers_of r/ladder-seeds.csv)" -eq 2 ]
check '... filled' [ "$(csv_find o/ladder-seeds.csv 'format=int4/60,method=GPTQ' fc4_output_error | grep -c '^0[.]0*[1-9]')" -eq 1 ]

# ---- what is wrong ------------------------------------------------------------------------------------------

refused() { # STATUS PATTERN NAME [OPTION...]
    refused_status=$1 refused_pattern=$2 refused_name=$3
    shift 3
    rm -rf wrong
    check_status "$refused_status" "$refused_name" ladder wrong "$@"
    check_grep "$refused_pattern" "$TMP/err" "$refused_name: says so"
    check "$refused_name: no table" [ ! -e wrong/ladder.md ]
}
cksum r/models/ladder/* >before
refused 1 '^mnistq: .*a group of 5000 weights divides the inputs of no layer$' 'a group of 5000' --group 5000 "$model"
refused 1 '^mnistq: .*a group of 15 weights' 'a group of 15' --group 15 "$model"
check_status 1 'a group of 5000 where a ladder is' ladder r --group 5000 "$model"
cksum r/models/ladder/* >after
check 'a group of 5000: the ladder that was there stays' cmp before after
refused 2 '^mnistq.*--group' 'a group of 0' --group 0 "$model"
refused 2 '^mnistq.*--group' 'a group of -7' --group -7 "$model"
refused 2 '^mnistq.*--group' 'a group that is no number' --group row "$model"
refused 2 '^mnistq.*--name' 'a name with a folder' --name ../x "$model"
refused 2 '^mnistq.*--name' 'an empty name' --name '' "$model"
refused 2 '^mnistq.*--damping' 'no damping' --damping 0 "$model"
refused 2 '^mnistq.*--threshold' 'a threshold that is no number' --threshold nan "$model"
refused 2 '^mnistq.*unexpected' 'two models' "$model" "$model"
refused 1 '^mnistq: .*--images 1501: there are only 1500' 'more images than there are' --images 1501 "$model"
refused 1 '^mnistq: .*--calibration 1501: there are only 1500' 'more calibration than there is' --calibration 1501 "$model"
for file in r/models/ladder/*-int8-row-static.* r/models/ladder/*-int8-row-dynamic.* r/models/ladder/*-int4-56-GPTQ.*; do
    refused 1 "^mnistq: $file: .*fp32 model is needed" "a MODEL that is $(basename "$file")" "$file"
done
refused 1 '^mnistq: nothing.safetensors: ' 'no such MODEL' nothing.safetensors
refused 1 '^mnistq: nowhere' 'no such data' --data nowhere "$model"
: >file
check_status 1 'results in a file' ladder file/r "$model"
check 'nothing half-written is left after errors' no_partial

tap_done
