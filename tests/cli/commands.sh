#!/bin/sh
# TAP tests of every command on a small set of built-in digits. From the root of the repository:
#   BUILD=build sh tests/cli/commands.sh
# shellcheck disable=SC2317,SC2016 # most functions are only called through check; patterns hold backticks

. tests/cli/tap.sh

tap_program
make_digits "$TMP/idx" 3000 500
idx=$TMP/idx
cd "$TMP" || exit 1
umask 022
OPENBLAS_NUM_THREADS=1 # small networks: threads only wait for each other
export OPENBLAS_NUM_THREADS

train() { # OUT [OPTION...]: good enough that quantization has something to lose
    train_out=$1
    shift
    "$mnistq" train --data "$idx" --hidden 32,16 --epochs 4 --out "$train_out" "$@"
}
quantize() { # MODEL OUT [OPTION...]
    quantize_model=$1 quantize_out=$2
    shift 2
    "$mnistq" quantize "$quantize_model" --data "$idx" --out "$quantize_out" "$@"
}
differ() { ! cmp -s "$1" "$2"; }
size() { wc -c <"$1" | tr -d ' '; }
no_partial() { [ -z "$(find "$TMP" -name '*.partial*')" ]; }

# ---- the forms of a table: CSV, Markdown and JSON hold the same -----------------------------------------------

csv_lines() { grep -v '^#' "$1"; }
csv_number() { csv_lines "$1" | awk -F, -v row="$2" -v name="$3" ' # FILE ROW COLUMN
    NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) column = i }
    NR == row + 1 { print $column }'; }
md_rows() { sed -n -e '/^| *-/d' -e 's/ *| */,/g' -e 's/^,\(.*\),$/\1/p' "$1"; }
md_is_csv() { # STEM: the cells of STEM.md are those of STEM.csv; the titles have spaces for underscores
    md_rows "$1.md" | sed '1s/ /_/g' >md.rows
    csv_lines "$1.csv" >csv.rows
    [ "$(wc -l <csv.rows)" -ge 2 ] && diff md.rows csv.rows
}

json_csv() { json_rows "$1" "$2" | tr '\t' ,; } # FILE COLUMN,...
same_cells() { # CSV CSV: equal as texts or as numbers
    [ "$(wc -l <"$1")" -eq "$(wc -l <"$2")" ] && paste -d '|' "$1" "$2" | awk -F'|' '
        { n = split($1, a, ","); if (n != split($2, b, ",") || n == 0) bad = 1
          for (i = 1; i <= n; i++) if (a[i] != b[i] && (a[i] == "" || b[i] == "" || a[i] + 0 != b[i] + 0 || a[i] !~ /^[-+.0-9e]+$/)) bad = 1
          if (bad) { print; exit } }
        END { exit bad || NR == 0 }'
}
json_is_csv() { # JSON CSV
    csv_lines "$2" | sed 1d >csv.rows
    json_csv "$1" "$(csv_lines "$2" | sed 1q)" >json.rows && same_cells csv.rows json.rows
}
one_shape() { # JSON: {title, rows, notes, provenance} and perhaps more tables, with the version among the facts
    json_lines "$1" | awk -F '\t' '
        { key = $1; sub(/[.[].*/, "", key); if (key != last) keys = keys " " key; last = key }
        $1 == "provenance.program" && $2 ~ /^mnistq [0-9]/ { told = 1 }
        END { print keys; exit !(told && keys ~ /^ title rows notes provenance( tables)?$/) }'
}

# ---- help ---------------------------------------------------------------------------------------------------

check '--help' "$mnistq" --help
check_status 2 'no command' "$mnistq"
for command in train quantize eval predict inspect exercise sweep; do
    check "help lists $command" sh -c "'$mnistq' --help | grep '^  $command '"
    check "$command --help" "$mnistq" $command --help
    check_grep "^usage: mnistq $command " "$TMP/out" "$command --help: its usage"
    check "$command --help: nothing on stderr" [ ! -s "$TMP/err" ]
done
"$mnistq" train --help >help
check_grep '\[256,256\]' help 'train --help: the default of --hidden'
check_grep '\[data/mnist\]' help 'train --help: the default of --data'
"$mnistq" train --hidden 7,9 --seed 42 --help >help
check_grep '\[7,9\]' help 'train --help: its defaults are read from where they are used'
check_grep '\[42\]' help 'train --help: ... also of the seed'
"$mnistq" quantize --help >help
check_grep '\[512\]' help 'quantize --help: the default of --calibration'
check_grep 'minmax.*moving-average.*' help 'quantize --help: the observers'

examples_parse() { # COMMAND: --help behind an example shows the help, unless something before it is wrong
    "$mnistq" help "$1" | sed -n '/^Examples:/,$p' | sed -e 1d -e 's/[<>].*//' -e 's/^ *mnistq //' >examples.txt
    [ -s examples.txt ] && while read -r words; do
        # shellcheck disable=SC2086 # several words
        "$mnistq" $words --help >/dev/null </dev/null || return
    done <examples.txt
}
for command in $("$mnistq" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do check "help $command: examples that parse" examples_parse $command; done
check 'help train: is train --help' sh -c "'$mnistq' help train >help.a && '$mnistq' train --help >help.b && cmp help.a help.b"
check_grep '^  mnistq train .*--out' help.a 'train --help: an example'
check '--version' "$mnistq" --version
check_grep '^mnistq [0-9]+\.[0-9]+\.[0-9]+$' "$TMP/out" '--version: tells it'
check '--help: within 90 columns' [ "$("$mnistq" --help | awk 'length > 90' | wc -l)" -eq 0 ]

# ---- train --------------------------------------------------------------------------------------------------

check 'train' train a.safetensors
check_grep '784-32-16-10, 25818 parameters' "$TMP/out" 'train: says what was trained'
check 'train: nothing on stderr when it is no terminal' [ ! -s "$TMP/err" ]
check 'train: the mode of the file is that of the umask' [ "$(find a.safetensors -perm 644)" = a.safetensors ]
check 'train: the same seed' train b.safetensors --seed 1
check 'train: ... the same file' cmp a.safetensors b.safetensors
check 'train: another seed' train b.safetensors --seed 2
check 'train: ... another file' differ a.safetensors b.safetensors
check 'train: the largest seed' train b.safetensors --seed 18446744073709551615
check 'train: sgd' train b.safetensors --optimizer sgd --rate 0.1 --batch 100
train b.safetensors --validation 500 --json >train.json
check 'train --json: validation and test' [ "$(json_csv train.json images,n)" = 'validation,500
test,500' ]

# ---- eval ---------------------------------------------------------------------------------------------------

bytes() { # FILE OFFSET COUNT: as numbers, one a line
    tail -c +$(($2 + 1)) "$1" | head -c "$3" | od -An -v -tu1 | tr -s ' ' '\n' | sed '/^$/d'
}
right_answers() { awk -F, 'NR > 1 && $2 == $3 { n++ } END { print n + 0 }' "$1"; } # of a CSV of predictions
labels=$(bytes "$idx/t10k-labels-idx1-ubyte" 8 500)

check 'eval' "$mnistq" eval a.safetensors --data "$idx" --predictions fp32.csv --json
cp "$TMP/out" eval.json
printed() { json_csv eval.json "$1"; } # COLUMN
check 'eval: accuracy that can only come of learning' [ "$(printed correct)" -gt 400 ]
check 'eval: ... is 100 times correct / n' [ "$(printed accuracy_percent)" = "$(awk -v c="$(printed correct)" 'BEGIN { printf "%.2f", c / 5 }')" ]
check 'eval: the right answers of --predictions are those printed' [ "$(right_answers fp32.csv)" = "$(printed correct)" ]
check 'eval: the header of --predictions' [ "$(sed 1q fp32.csv)" = index,label,predicted ]
check 'eval: a row for each image' [ "$(sed 1d fp32.csv | cut -d, -f1)" = "$(awk 'BEGIN { for (i = 0; i < 500; i++) print i }')" ]
check 'eval: the labels are those of the IDX file' [ "$(sed 1d fp32.csv | cut -d, -f2)" = "$labels" ]
check 'eval: --predictions into a pipe' sh -c "'$mnistq' eval a.safetensors --data '$idx' --predictions /dev/stdout | head -n 501 | cmp - fp32.csv"
check 'eval --json: of all' [ "$(printed n)" = 500 ]
check 'eval --json: its shape' one_shape eval.json
check 'eval: the built-in digits' "$mnistq" eval a.safetensors --data digits --json
cp "$TMP/out" eval.json
check 'eval: ... all 10000' [ "$(printed n)" = 10000 ]

mkdir gz
cp "$idx"/* gz
gzip gz/*
check 'eval: compressed data' "$mnistq" eval a.safetensors --data gz --predictions gz.csv
check 'eval: ... gives the same' cmp fp32.csv gz.csv

# ---- quantize: every scheme, observer and kind of activations -------------------------------------------------

near() { # A B TOLERANCE
    awk -v a="$1" -v b="$2" -v t="$3" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d <= t && -d <= t) }'
}
reference_agrees() { # QMODEL DATA: the plain integer reference and the kernel answer alike, to the last image
    "$mnistq" eval "$1" --data "$2" --predictions answers.csv >kernel.txt && mv answers.csv kernel.csv &&
        "$mnistq" eval "$1" --data "$2" --reference --predictions answers.csv >reference.txt && mv answers.csv reference.csv &&
        [ "$(wc -l <kernel.csv)" -gt 1 ] && cmp kernel.csv reference.csv && cmp kernel.txt reference.txt
}
right=$(right_answers fp32.csv)
for scheme in per-channel per-tensor; do
    for activations in asymmetric symmetric; do
        for observer in minmax moving-average histogram percentile; do
            name="quantize: $scheme, $activations, $observer"
            check "$name" quantize a.safetensors "q-$scheme-$activations-$observer" \
                --scheme $scheme --activations $activations --observer $observer
            check "$name: reference and kernel agree" reference_agrees "q-$scheme-$activations-$observer" "$idx"
            check "$name: loses little" \
                near "$(right_answers kernel.csv)" "$right" 10
        done
    done
done
q='q-per-channel-asymmetric-minmax'
check 'quantize: those are the defaults' quantize a.safetensors q.safetensors
check 'quantize: ... the same file' cmp $q q.safetensors
check 'quantize: schemes differ' differ $q q-per-tensor-asymmetric-minmax
check 'quantize: activations differ' differ $q q-per-channel-symmetric-minmax
for observer in moving-average histogram percentile; do
    check "quantize: $observer is not minmax" differ $q q-per-channel-asymmetric-$observer
done
check 'quantize: one image' quantize a.safetensors q.safetensors --calibration 1
check 'quantize: ... works' reference_agrees q.safetensors "$idx"
check 'quantize: all images' quantize a.safetensors q.safetensors --calibration 3000
check 'quantize: ... differs' differ $q q.safetensors
quantize a.safetensors q.safetensors --json >quantize.json
check 'quantize --json: pixels are codes, 1/255 apart' [ "$(json_csv quantize.json tensor,zero_point,lowest,highest | awk -F, 'NR == 1 { print $1, $2 + 0, $3 + 0, $4 + 0 }')" = 'input of fc1 0 0 1' ]

# ---- other shapes and other images ----------------------------------------------------------------------------

for hidden in 1 64 24,20,16,12,10 9,9,9,9,9,9,9,9,9,9,9,9,9,9,9; do
    check "--hidden $hidden: train" train shape.safetensors --hidden $hidden
    check "--hidden $hidden: quantize" quantize shape.safetensors shape-q.safetensors
    check "--hidden $hidden: reference and kernel agree" reference_agrees shape-q.safetensors "$idx"
done

"$BUILD/tests/make_idx" small 2000 300 20 16
check '20 x 16: train' "$mnistq" train --data small --hidden 20 --out small.safetensors
check_grep '320-20-10' "$TMP/out" '20 x 16: 320 inputs'
check '20 x 16: quantize' "$mnistq" quantize small.safetensors --data small --out small-q.safetensors
check '20 x 16: reference and kernel agree' reference_agrees small-q.safetensors small
check_status 1 '20 x 16: eval on 28 x 28' "$mnistq" eval small-q.safetensors --data "$idx"
check_grep '^mnistq: .*28 x 28.*320 inputs' "$TMP/err" '20 x 16: ... says so'
check_status 1 '28 x 28: eval on 20 x 16' "$mnistq" eval a.safetensors --data small
check_grep '^mnistq: small: .*20 x 16.*784 inputs' "$TMP/err" '28 x 28: ... says so'
check_status 1 '28 x 28: quantize on 20 x 16' quantize a.safetensors wrong.safetensors --data small
check '28 x 28: ... writes nothing' [ ! -e wrong.safetensors ]

# ---- predict --------------------------------------------------------------------------------------------------

pgm() { # IMAGE: image IMAGE of the test set as a 28 x 28 PGM
    printf 'P5\n28 28\n255\n'
    tail -c +$((16 + $1 * 784 + 1)) "$idx/t10k-images-idx3-ubyte" | head -c 784
}
redraw() { # IMAGE SCALE INVERT: SCALE times as large; INVERT 255 turns it into dark ink on white paper, 0 leaves it
    printf 'P5\n%d %d\n255\n' $((28 * $2)) $((28 * $2))
    printf '%b' "$(bytes "$idx/t10k-images-idx3-ubyte" $((16 + $1 * 784)) 784 | awk -v scale="$2" -v invert="$3" '
        { v = invert ? 255 - $1 : $1; for (i = 0; i < scale; i++) row = row sprintf("\\0%03o", v) }
        NR % 28 == 0 { for (i = 0; i < scale; i++) printf "%s", row; row = "" }')"
}
answers() { grep -E '\.pgm: [0-9]+$' "$1" | sed 's/.*: //'; } # of the charts of predict
expected() { sed -n 2,21p "$1" | cut -d, -f3; }                # of the first 20 in a CSV of predictions

files=
for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do
    pgm $i >$i.pgm
    redraw $i 4 0 >large-$i.pgm
    redraw $i 1 255 >inverted-$i.pgm
    redraw $i 7 255 >both-$i.pgm
    files="$files $i.pgm"
done
redraw 3 1 0 >same.pgm
check 'pictures are drawn as they should be' cmp same.pgm 3.pgm
"$mnistq" eval $q --data "$idx" --predictions int8.csv >/dev/null
# shellcheck disable=SC2086 # a list of files
{
    check 'predict: fp32' "$mnistq" predict a.safetensors $files
    check 'predict: fp32: test images as pictures are answered as in the set' [ "$(answers "$TMP/out")" = "$(expected fp32.csv)" ]
    "$mnistq" predict a.safetensors $files >charts
    check 'predict: a bar for each class' [ "$(grep -cE '^ +[0-9] +[0-9.]+% #*$' charts)" -eq 200 ]
    check 'predict: int8' "$mnistq" predict $q $files
    check 'predict: int8: test images as pictures are answered as in the set' [ "$(answers "$TMP/out")" = "$(expected int8.csv)" ]
    "$mnistq" predict $q $files --json >predict.json 2>doubts
}
doubted() { [ -s doubts ] && [ "$(sed -n 's/^mnistq: \(.*\): warning: .*/\1/p' doubts | uniq | wc -l)" -eq "$(json_csv predict.json warnings | grep -c ' ')" ]; }
check 'predict --json: each doubt is a line on standard error and stands in warnings' doubted
check 'predict --json: the same' [ "$(json_csv predict.json predicted)" = "$(expected int8.csv)" ]
sum_to_1() {
    json_csv "$1" p0,p1,p2,p3,p4,p5,p6,p7,p8,p9 | awk -F, '
        { s = 0; for (i = 1; i <= 10; i++) s += $i; if (!(s > 0.999 && s < 1.001)) bad = 1 }
        END { exit bad || NR != 20 }'
}
check 'predict --json: the probabilities sum to 1' sum_to_1 predict.json
# A picture of another size than the set's is centred, as these drawings are not: two of three are answered alike (40 of 60
# before and after the drawing of pictures was changed), where one of ten would be by chance.
agreeing() { # KIND: of 20 redrawn pictures as many are answered as the original is
    for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do echo "$1-$i.pgm"; done | xargs "$mnistq" predict a.safetensors >redrawn || return
    answers redrawn >redrawn.answers
    expected fp32.csv | paste -d ' ' - redrawn.answers | awk '$1 == $2 { n++ } END { print n + 0, "of", NR; exit !(n >= 12 && NR == 20) }'
}
for kind in large inverted both; do check "predict: $kind pictures are mostly answered like the original" agreeing $kind; done

# Data of dark ink: the model file says so, and pictures follow. tr turns each byte round.
reversed=$(awk 'BEGIN { for (i = 255; i >= 0; i--) printf "\\%03o", i }')
negative() { # IN OUT: an IDX file of images
    head -c 16 "$1" >"$2" && tail -c +17 "$1" | LC_ALL=C tr '\000-\377' "$reversed" >>"$2"
}
mkdir dark
cp "$idx"/*labels* dark
for set in train t10k; do negative "$idx/$set-images-idx3-ubyte" "dark/$set-images-idx3-ubyte"; done
for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do redraw $i 1 255 >negative-$i.pgm; done
negative_files=$(echo "$files" | sed 's/ \([0-9]\)/ negative-\1/g')
check 'dark ink: train' "$mnistq" train --data dark --hidden 32,16 --epochs 4 --out dark.safetensors
check 'dark ink: quantize' "$mnistq" quantize dark.safetensors --data dark --out dark-int8.safetensors
for model in dark dark-int8; do
    check_grep '"images":"dark ink, [0-9]* pixels, anywhere"' $model.safetensors "dark ink: $model says so"
    "$mnistq" eval $model.safetensors --data dark --predictions dark.csv >/dev/null
    # shellcheck disable=SC2086 # lists of files
    for list in "$negative_files" "$files"; do
        "$mnistq" predict $model.safetensors $list >charts 2>/dev/null
        check "dark ink: $model: pictures are answered as in the set, either way round" [ "$(answers charts)" = "$(expected dark.csv)" ]
    done
done
sed 's/dark ink, \([0-9]*\) pixels/dork ink, \1 pixels/' dark.safetensors >dork.safetensors
check_status 1 'a form that nobody knows' "$mnistq" predict dork.safetensors 0.pgm
check_grep '^mnistq: dork.safetensors: metadata images is "dork ink' "$TMP/err" 'a form that nobody knows is named'

"$mnistq" predict a.safetensors 0.pgm --show >show
check 'predict --show: 28 lines' [ "$(grep -c '^  |.\{56\}|$' show)" -eq 28 ]
check_grep '[@%#*]' show 'predict --show: with ink on them'
echo 'no picture' >bad.pgm
check_status 1 'predict: an unreadable picture among good ones' "$mnistq" predict a.safetensors 0.pgm bad.pgm missing.pgm 1.pgm
mv "$TMP/err" two.err
check 'predict: ... the others are answered' [ "$(answers "$TMP/out")" = "$(expected fp32.csv | sed 2q)" ]
check 'predict: ... a line for each of the bad' [ "$(sed 's/\.pgm:.*//' two.err)" = 'mnistq: bad
mnistq: missing' ]
check_status 1 'predict: a model of other images' "$mnistq" predict small.safetensors 0.pgm
check_grep '^mnistq: small.safetensors: takes 320 pixels' "$TMP/err" 'predict: ... is named'

# ---- inspect --------------------------------------------------------------------------------------------------

inspect_adds_up() { # FILE: the parts add up to the whole, which is what stat says
    "$mnistq" inspect "$1" --json >inspect.json && json_csv inspect.json part,bytes | awk -F, -v size="$(size "$1")" '
        $1 == "whole file" { whole = $2; next }
        { sum += $2 }
        END { print sum, whole, size; exit !(NR > 4 && sum == size && whole == size) }'
}
for file in a.safetensors $q q-per-tensor-asymmetric-minmax shape-q.safetensors; do
    check "inspect $file" "$mnistq" inspect "$file"
    check_grep "^$file, $(size "$file") bytes$" "$TMP/out" "inspect $file: its size"
    check "inspect $file: every byte is accounted for" inspect_adds_up "$file"
done
"$mnistq" inspect $q >inspect.txt
check_grep 'fc1.weight +I8 +\[32, 784\] +25088 ' inspect.txt 'inspect: int8 weights'
check_grep 'fc1.weight_scale +F32 +\[32\] ' inspect.txt 'inspect: a scale per channel'
check_grep 'fc1.bias +I32 +\[32\] ' inspect.txt 'inspect: int32 biases'
check_grep 'fc1.input_zero_point +U8 +\[1\] +1 +0 +0$' inspect.txt 'inspect: the zero point of pixels is 0'
check_grep 'fc1.input_scale +F32 +\[1\] +4 +0.00392157 ' inspect.txt 'inspect: the scale of pixels is 1/255'
"$mnistq" inspect q-per-tensor-asymmetric-minmax >inspect.txt
check_grep 'fc1.weight_scale +F32 +\[1\] ' inspect.txt 'inspect: a scale per tensor'

# ---- standard input and output, --quiet --------------------------------------------------------------------------

"$mnistq" train --data "$idx" --hidden 32,16 --epochs 4 --out - >piped.safetensors 2>table.txt
check 'train --out -: the same file on standard output' cmp piped.safetensors a.safetensors
check_grep '^  test ' table.txt 'train --out -: ... its table on standard error'
pipeline() { # nothing is written but to pipes
    "$mnistq" quantize - --data "$idx" --out - --quiet <a.safetensors | "$mnistq" eval - --data "$idx" --predictions - 2>/dev/null
}
pipeline >pipeline.csv
check 'quantize - --out - | eval - --predictions -: answers like the files' cmp pipeline.csv int8.csv
check '... and makes no file of that name' [ ! -e ./- ]
"$mnistq" predict $q - <0.pgm >one.txt
check 'predict MODEL -: a picture from standard input' [ "$(sed -n '1s/^-: //p' one.txt)" = "$(expected int8.csv | sed 1q)" ]
check '--quiet' "$mnistq" eval a.safetensors --data "$idx" --quiet
check '--quiet: prints nothing' [ ! -s "$TMP/out" ]
check '--quiet: ... to standard error either' [ ! -s "$TMP/err" ]
"$mnistq" eval --quiet a.safetensors --data "$idx" --json >quiet.json
check '--quiet: what --json asks for is printed' one_shape quiet.json
check_status 1 '--quiet: errors are told' "$mnistq" inspect missing.safetensors --quiet
check_grep '^mnistq: missing.safetensors: ' "$TMP/err" '... all the same'
for file in predict.json inspect.json quantize.json train.json; do check "$file: its shape" one_shape $file; done
name=$(printf 'esc\033[31m \302\233 \342\200\256 bytes\377.pgm') # ESC, CSI (U+009B), right-to-left override, no UTF-8
cp 0.pgm "$name"
check 'a hostile name' "$mnistq" predict $q "$name"
check_grep '^esc.\[31m . . bytes.\.pgm: [0-9]$' "$TMP/out" '... is masked'
check '... of all that a terminal heeds' [ "$(sed 1q "$TMP/out" | LC_ALL=C tr -d ' -~\n' | wc -c)" -eq 0 ]
rm "$name"

# ---- exercise -------------------------------------------------------------------------------------------------

exercise() { "$mnistq" exercise --data "$idx" --hidden 32,16 --epochs 4 "$@"; }
check 'exercise' exercise --results r/deep
check 'exercise: its files' [ "$(cd r/deep && find . -type f | sort | tr '\n' ' ')" = "./.exercise ./changed.png ./confusion.csv ./confusion.md ./exercise.csv ./exercise.md ./layers.csv ./layers.md ./models/fp32.safetensors ./models/int8-per-channel.safetensors ./models/int8-per-tensor.safetensors " ]
for table in exercise layers confusion; do
    check "exercise: $table.md is $table.csv" md_is_csv r/deep/$table
    for form in md csv; do
        file=r/deep/$table.$form
        check_grep "command: \`?mnistq exercise --data $idx --hidden 32,16 --epochs 4 --results r/deep\`?\$" $file "$table.$form: the command"
        check_grep 'seed: `?1`?$' $file "$table.$form: the seed"
        check_grep 'CPU: `?.+ [0-9]+ threads' $file "$table.$form: the CPU"
        check_grep 'integer kernel: `?[a-z0-9]+' $file "$table.$form: the integer kernel"
        check_grep 'BLAS: `?.+' $file "$table.$form: the BLAS"
        check_grep 'data: `?idx \(not MNIST.s files\), 3000 training and 500 test images' $file "$table.$form: the data"
    done
done
sha=$(cat "$idx/train-images-idx3-ubyte" "$idx/train-labels-idx1-ubyte" "$idx/t10k-images-idx3-ubyte" "$idx/t10k-labels-idx1-ubyte" |
    { sha256sum 2>/dev/null || shasum -a 256; } | cut -d ' ' -f 1)
check_grep "data SHA-256: $sha" r/deep/exercise.csv 'exercise: the SHA-256 is that of the four files'
exercise --data gz --results r/gz >/dev/null
check_grep "data SHA-256: $sha" r/gz/exercise.csv 'exercise: ... compressed or not'
check 'exercise: changed.png is a PNG' [ "$(head -c 8 r/deep/changed.png | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]

e=r/deep/exercise.csv
row=0
for model in fp32 int8-per-channel int8-per-tensor; do
    row=$((row + 1))
    file=r/deep/models/$model.safetensors
    "$mnistq" eval $file --data "$idx" --predictions $model.csv >/dev/null
    check "exercise: $model: the bytes are those of the file" [ "$(csv_number $e $row file_bytes)" = "$(size $file)" ]
    check "exercise: $model: the ratio" near "$(csv_number $e $row ratio)" "$(awk -v a="$(size r/deep/models/fp32.safetensors)" -v b="$(size $file)" 'BEGIN { print a / b }')" 0.00051
    check "exercise: $model: eval finds the same right answers" [ "$(csv_number $e $row correct)" = "$(right_answers $model.csv)" ]
    check "exercise: $model: of 500" [ "$(csv_number $e $row n)" = 500 ]
    paired=$(paste -d, fp32.csv $model.csv | awk -F, 'NR > 1 { changed += $3 != $6; fixed += $3 != $2 && $6 == $2; broken += $3 == $2 && $6 != $2 }
        END { print changed + 0, fixed + 0, broken + 0 }')
    [ $model = fp32 ] || check "exercise: $model: changed, fixed and broken come from the predictions" \
        [ "$(csv_number $e $row changed) $(csv_number $e $row fixed) $(csv_number $e $row broken)" = "$paired" ]
    check "exercise: $model: the change in points" near "$(csv_number $e $row change)" "$(awk -v a="$(csv_number $e $row correct)" -v b="$(csv_number $e 1 correct)" 'BEGIN { print (a - b) / 5 }')" 0.0051
    awk -F, 'NR > 1 { count[$2 * 10 + $3]++ } END { for (i = 0; i < 10; i++) { line = ""; for (j = 0; j < 10; j++) line = line (j ? "," : "") count[i * 10 + j] + 0; print line } }' $model.csv >confusion.expected
    csv_lines r/deep/confusion.csv | sed 1d | sed -n "$((row * 10 - 9)),$((row * 10))p" | cut -d, -f4-13 >confusion.found
    check "exercise: $model: the confusion comes from the predictions" cmp confusion.expected confusion.found
done
check 'exercise: fp32 is what train writes' cmp r/deep/models/fp32.safetensors a.safetensors
check 'exercise: int8 is what quantize writes' cmp r/deep/models/int8-per-channel.safetensors $q
check 'exercise: ... and per tensor' cmp r/deep/models/int8-per-tensor.safetensors q-per-tensor-asymmetric-minmax
exercise --results r/again --json >exercise.json
check 'exercise --json is exercise.csv' json_is_csv exercise.json r/again/exercise.csv
check 'exercise: again: the same models' diff -r r/deep/models r/again/models
check 'exercise: one scheme' exercise --results r/one --scheme per-tensor --observer histogram --activations symmetric --seed 5 --validation 300
check 'exercise: ... two rows' [ "$(csv_lines r/one/exercise.csv | cut -d, -f1,2)" = 'format,granularity
fp32,-
int8,per-tensor' ]
check_grep '^Validation: the network got [0-9.]+% of the last 300 training images' r/one/exercise.md 'exercise: ... and the accuracy of --validation'
check_grep 'seed: 5$' r/one/exercise.csv 'exercise: ... the seed is told'
check 'exercise: one output layer only has other images' "$mnistq" exercise --data small --hidden 8 --results r/small

# ---- sweep ----------------------------------------------------------------------------------------------------

check 'sweep' "$mnistq" sweep --data "$idx" --hidden 16 --seeds 3 --results r/sweep --json
cp "$TMP/out" sweep.json
check 'sweep: three seeds, mean and sd' [ "$(csv_lines r/sweep/sweep.csv | cut -d, -f1 | tr '\n' ' ')" = 'seed 1 2 3 mean sd ' ]
check 'sweep: sweep.md is sweep.csv' md_is_csv r/sweep/sweep
check 'sweep --json is sweep.csv' json_is_csv sweep.json r/sweep/sweep.csv
csv_lines r/sweep/sweep.csv | awk -F, '
    $1 ~ /^[0-9]+$/ { for (i = 2; i <= NF; i++) { s[i] += $i; ss[i] += $i * $i }; n++ }
    $1 == "mean" { for (i = 2; i <= NF; i++) { d = $i - s[i] / n; if (d > 0.006 || d < -0.006) bad = bad " mean of column " i } rows++ }
    $1 == "sd" { for (i = 2; i <= NF; i++) { v = (ss[i] - s[i] * s[i] / n) / (n - 1); d = $i - sqrt(v > 0 ? v : 0); if (d > 0.01 || d < -0.01) bad = bad " sd of column " i } rows++ }
    END { print rows == 2 ? "both" bad : "none" }' >sweep.check
check 'sweep: mean and sd are those of the rows' [ "$(cat sweep.check)" = both ]
exercise_2=$("$mnistq" exercise --data "$idx" --hidden 16 --seed 2 --results r/two >/dev/null && csv_number r/two/exercise.csv 3 accuracy_percent)
check 'sweep: a row is what exercise gives for that seed' [ "$(csv_number r/sweep/sweep.csv 2 tensor_percent)" = "$exercise_2" ]

# ---- recipe ---------------------------------------------------------------------------------------------------

check 'recipe' "$mnistq" recipe --data small --hidden 4 --validation 500 --seeds 2 --seed 3 --results r/recipe
check 'recipe: recipe.md is recipe.csv' md_is_csv r/recipe/recipe
check 'recipe: one best, the highest mean, which a note names' [ "$(csv_lines r/recipe/recipe.csv | awk -F, '
    NR > 1 { rows++; if ($5 > highest) highest = $5; if ($8 == "best") { best = $5; n++; told = $1 ", rate " $2 ", smoothing " $3 ", warm-up " $4 } }
    END { print rows, n, best == highest, told }')" = \
    "52 1 1 $(sed -n 's/^.*Best of 52 recipes: batch \(.*\)\.$/\1/p' r/recipe/recipe.md)" ]
"$mnistq" train --data small --hidden 4 --validation 500 --batch 64 --rate 0.008 --smoothing 0.1 --warmup 0.1 --seed 3 --out /dev/null --json >3.json
"$mnistq" train --data small --hidden 4 --validation 500 --batch 64 --rate 0.008 --smoothing 0.1 --warmup 0.1 --seed 4 --out /dev/null --json >4.json
check 'recipe: a mean is that of what train gives for these seeds' [ \
    "$(csv_lines r/recipe/recipe.csv | awk -F, '$1 == 64 && $2 == "0.008" && $3 == "0.1" && $4 == "0.1" { print $5 * 10 }')" = \
    "$(awk -v a="$(json_value 3.json 'rows[0].correct')" -v b="$(json_value 4.json 'rows[0].correct')" 'BEGIN { print a + b }')" ]

check 'recipe --of rungs' "$mnistq" recipe --of rungs --data small --hidden 56 --validation 500 --seeds 2 --results r/recipe
check 'recipe-rungs: QAT at 2 to 8 bits with five rates, groups that divide a layer, the best of each' [ "$(csv_lines r/recipe/recipe-rungs.csv | awk -F, '
    $3 == "rate" { rates++; bits[$1] = 1; sum[$4] += $5 } $3 == "group" { groups[$4] = 1 }
    END { for (b in bits) n++; for (r in sum) if (sum[r] > highest) { highest = sum[r]; best = r }; print rates / n, 28 in groups, 56 in groups, 49 in groups, best }')" = \
    "5 1 1 0 $(sed -n "s/^.*QAT's rate.*; best: \(.*\)\.$/\1/p" r/recipe/recipe-rungs.md)" ]

# ---- mixed ----------------------------------------------------------------------------------------------------

check 'mixed' "$mnistq" mixed --data "$idx" --hidden 16,12 --seeds 2 --images 300 --results r/mixed --json
cp "$TMP/out" mixed.json
check 'mixed: mixed.md is mixed.csv' md_is_csv r/mixed/mixed
check 'mixed --json is mixed.csv' json_is_csv mixed.json r/mixed/mixed.csv
check 'mixed: three layers in six formats' [ "$(csv_lines r/mixed/mixed-sensitivity.csv | wc -l)" -eq 19 ]
check_grep '^<svg ' r/mixed/mixed.svg 'mixed: the picture'
csv_lines r/mixed/mixed.csv | awk -F, '
    $1 ~ /^[0-9]/ && $3 { rows++; if ($3 > $1 || $3 < bits || $7 > noise && noise) bad = bad " " $1; bits = $3; noise = $7 }
    END { print (rows > 5) ? "within" bad : "none" }' >mixed.check
check 'mixed: budgets hold, and more bits mean less noise' [ "$(cat mixed.check)" = within ]
layers=$(csv_lines r/mixed/mixed.csv | awk -F, '$1 == 3 { gsub(" ", "-", $2); print $2 }')
check 'mixed: the file of a row has its formats' sh -c "'$mnistq' inspect 'r/mixed/models/mixed/$layers.safetensors' >mixed.inspect"
for n in 1 2 3; do check_grep "fc$n.format: $(echo "$layers" | cut -d- -f$n)/row" mixed.inspect "mixed: ... fc$n"; done

# ---- files: links, modes, interruptions -------------------------------------------------------------------------

echo old >target
chmod 640 target
ln -s target link
check 'a symbolic link as --out' quantize a.safetensors link
check '... stays a link' [ -h link ]
check '... to the new file' cmp target $q
check '... whose mode is kept' [ "$(find target -perm 640)" = target ]

"$BUILD/tests/make_idx" few 100 50
# A shell lets its background jobs ignore SIGINT; the program keeps to that, so it has to be undone.
heeding=
if env --default-signal=INT true 2>/dev/null; then
    heeding='env --default-signal=INT'
elif command -v perl >/dev/null; then
    heeding="perl -e \$SIG{INT}=DEFAULT;exec(@ARGV)"
fi

# Interrupted while the file of a large network is being written: the half that there is goes, the old file stays.
interrupted() { # SIGNAL: 0 good, 1 bad, 9 not caught while it wrote
    echo old >large.safetensors
    (
        # shellcheck disable=SC2086 # several words, or none
        exec $heeding "$mnistq" train --data few --hidden 4096,4096 --out large.safetensors
    ) >/dev/null 2>interrupted.err &
    writer=$!
    while kill -0 $writer 2>/dev/null; do
        for partial in large.safetensors.partial*; do
            [ -e "$partial" ] || continue
            kill -s "$1" $writer
            wait $writer
            [ $? -gt 128 ] || return 9 # it was done before the signal came
            cat interrupted.err
            ls -l large.safetensors*
            [ "$(cat large.safetensors)" = old ] && no_partial
            return
        done
    done
    wait $writer || { # it did not come to writing
        cat interrupted.err
        return 1
    }
    return 9
}
for signal in INT TERM HUP; do
    name="train, ended by SIG$signal while it writes, leaves the old file and no half one"
    interrupted $signal >interrupted.out
    case $? in
    0) tap_pass "$name" ;;
    9) skip "$name" 'it was not caught writing' ;;
    *) tap_fail "$name" 'what it left:' interrupted.out ;;
    esac
done
# A function in the background is a subshell: it has to become the program, or the signal ends only the shell.
(exec "$mnistq" exercise --data "$idx" --hidden 32,16 --epochs 1000 --results r/interrupted) >/dev/null 2>&1 &
sleep 0.5
kill $!
wait $!
check 'exercise: ended by SIGTERM' [ $? -eq 143 ]
(
    trap '' HUP
    exec "$mnistq" train --data "$idx" --epochs 8 --out nohup.safetensors
) >/dev/null 2>&1 &
sleep 0.2
kill -s HUP $!
check 'a signal that is ignored, as under nohup, stays so' wait $!
check '... and the file is written' [ -s nohup.safetensors ]
check 'no test left a half-written file' no_partial

# ---- other formats of quantize -------------------------------------------------------------------------------------

right_of() { "$mnistq" eval "$1" --data idx --json >right.json && json_csv right.json correct; }
train formats.safetensors >/dev/null
full=$(right_of formats.safetensors)
for format in int4 bf16; do
    check "quantize --format $format" quantize formats.safetensors $format.safetensors --format $format
    check "$format: the file is smaller" [ "$(size $format.safetensors)" -lt "$(($(size formats.safetensors) * 7 / 10))" ]
    check "$format: nearly as many are right" [ "$(($(right_of $format.safetensors) + 25))" -ge "$full" ]
done
check_status 2 'int4 per tensor' quantize formats.safetensors wrong.safetensors --format int4 --scheme per-tensor
check_grep '^mnistq: quantize: --scheme per-tensor goes with --format int8' "$TMP/err" '... says so'
check_status 2 'a format that is none' quantize formats.safetensors wrong.safetensors --format no-such-format
check '... and nothing is written' [ ! -e wrong.safetensors ]

check 'quantize: the method and the seed of its model are told' sh -c "'$mnistq' inspect int4.safetensors | grep -q 'method: W4A8, GPTQ'"
quantize formats.safetensors formats8.safetensors >/dev/null
check 'int8: no method is told, since none was chosen' sh -c "! '$mnistq' inspect formats8.safetensors | grep -q method:"
check_grep 'Warning: 512 images for the 784 inputs of fc1' "$(quantize formats.safetensors q4.safetensors --format int4 >q4.out; echo q4.out)" \
    'int4 from few images: a warning'

# ---- --json of each ------------------------------------------------------------------------------------------------

shaped() { # MOST [OPTION...]: rows are there, and numbers are numbers
    "$mnistq" "$@" --json >shaped.json && one_shape shaped.json && [ "$(json_lines shaped.json | grep -c '^rows\[[0-9]*\]')" -gt 0 ]
}
for command in 'inspect formats.safetensors' 'inspect int4.safetensors' 'inspect --cpu' 'inspect formats8.safetensors --histogram' \
    'inspect formats8.safetensors --histogram --fp32 formats.safetensors --data idx' 'inspect bf16.safetensors --histogram' \
    'inspect int4.safetensors --histogram' 'predict formats8.safetensors 0.pgm' 'eval bf16.safetensors --data idx' \
    'eval formats8.safetensors --data idx --break truncation' 'eval --break list' 'quantize --format list' \
    'quantize formats.safetensors --data idx --out made.safetensors --format int4' \
    'quantize formats.safetensors --data idx --out made.safetensors --format q4_K+q6_K' \
    'train --data idx --hidden 8 --validation 100 --out made.safetensors' \
    'compare formats.safetensors formats8.safetensors --data idx' 'trace formats8.safetensors --data idx' \
    'exercise --data idx --hidden 8 --calibration 16 --results r/json' 'sweep --data idx --hidden 8 --seeds 1 --results r/json' \
    'pitfalls formats.safetensors --data idx --calibration 64 --results r/json' \
    'bench formats.safetensors --data idx --batch 1 --threads 1 --runs 7 --no-training --results r/json'; do
    # shellcheck disable=SC2086 # several words
    check "$command --json: its shape" shaped $command
done
check 'help alone: is --help' sh -c "'$mnistq' help >help.a && '$mnistq' --help >help.b && cmp help.a help.b"
check '-h: too' sh -c "'$mnistq' -h | cmp - help.b"
check '--kernel before the command' "$mnistq" --kernel portable eval formats8.safetensors --data idx --predictions portable.csv
"$mnistq" eval formats8.safetensors --data idx --predictions best.csv >/dev/null
check '... gives the same answers' cmp portable.csv best.csv

# ---- where results go, and what they say of their making -----------------------------------------------------------

check 'exercise without --results' "$mnistq" exercise --data idx --hidden 8 --calibration 16 --seed=2
check '... writes to results/ under the name of its data' [ -s results/idx/exercise.csv ]
check '... and nowhere else' [ "$(ls results)" = idx ]
check_grep '^# command: mnistq exercise --data idx --hidden 8 --calibration 16 --seed=2$' results/idx/exercise.csv \
    'the command is told as it was typed'
check 'a folder with slashes behind it' "$mnistq" exercise --data idx// --hidden 8 --calibration 16
check '... has the same name' [ "$(ls results)" = idx ]
mkdir dot && cp idx/* dot
check 'the folder where one is' sh -c "cd dot && '$mnistq' exercise --data . --hidden 8 --calibration 16"
check '... has no name of its own: results/data' [ "$(ls dot/results)" = data ]
ln -s idx "it's mine"
check 'a folder with a quote' "$mnistq" eval results/idx/models/fp32.safetensors --kernel portable --data "it's mine" --json
check_grep "mnistq eval results/idx/models/fp32.safetensors --kernel portable --data 'it'.{1,6}'s mine' --json" "$TMP/out" \
    '... is quoted for a shell'
check_status 2 'an empty --data' "$mnistq" eval results/idx/models/fp32.safetensors --data ''
check_grep '^mnistq: eval: --data: expected a folder or "digits", found ""' "$TMP/err" '... says so'

# ---- memory -----------------------------------------------------------------------------------------------------

name='valgrind: exercise without leaks and invalid accesses'
if grep -q __asan_init "$mnistq"; then
    skip "$name" 'the program has AddressSanitizer in it'
elif ! command -v valgrind >/dev/null; then
    skip "$name" 'there is no valgrind'
else
    "$BUILD/tests/make_idx" tiny 200 50 12 12
    check "$name" valgrind -q --leak-check=full --error-exitcode=9 \
        "$mnistq" exercise --data tiny --hidden 4,3 --calibration 64 --results r/valgrind
fi

tap_done
