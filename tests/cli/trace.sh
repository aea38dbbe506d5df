#!/bin/sh
# TAP tests of `mnistq trace` on a small set of built-in digits: BUILD=build sh tests/cli/trace.sh
# shellcheck disable=SC2317 # most functions are only called through check

. tests/cli/tap.sh

tap_program
make_digits "$TMP/idx" 1000 100
[ -z "${MNIST_DIR-}" ] || MNIST_DIR=$(cd "$MNIST_DIR" && pwd)
cd "$TMP" || exit 1

"$mnistq" train --data idx --hidden 24,16 --epochs 3 --out fp32.st >/dev/null &&
    "$mnistq" quantize fp32.st --data idx --out int8.st >/dev/null &&
    "$mnistq" quantize fp32.st --data idx --scheme per-tensor --activations symmetric --out symmetric.st >/dev/null &&
    "$mnistq" train --data idx --hidden 12 --epochs 1 --out other.st >/dev/null &&
    "$mnistq" train --data idx --hidden 24,16 --epochs 3 --seed 9 --out second.st >/dev/null ||
    tap_bail 'train or quantize does not work'

equal() { [ "$1" = "$2" ] || { echo "$1 is not $2" >&2; false; }; }

# ---- the page -------------------------------------------------------------------------------------------------------

check 'trace' "$mnistq" trace int8.st --image 3 --data idx --fp32 fp32.st --results r
cp "$TMP/out" page
check_grep '^The path:  pixels  ->  fc1 neuron [0-9]+  ->  fc2 neuron [0-9]+  ->  fc3 logit [0-9]+$' "$TMP/out" 'the path'
check_grep 'is the one of the integer engine' "$TMP/out" 'checked against the engine'
check 'no line is wider than a terminal of 80' sh -c "awk 'length > 80 { print; bad = 1 } END { exit bad }' page"
check 'the page is written too' sh -c "sed '/^Written to /d' page | cmp - r/trace.txt"
check_grep '^Written to r: trace \(\.md and \.csv\), trace\.txt$' page 'the files are named'
check_grep '^# command: mnistq trace ' r/trace.csv 'trace.csv: its command'
check 'trace without --fp32' "$mnistq" trace int8.st --data idx
check_no_grep fp32 "$TMP/out" 'trace without --fp32 speaks of none'
"$mnistq" eval int8.st --data idx --predictions predictions.csv >/dev/null
for image in 0 7 99; do
    "$mnistq" trace int8.st --image $image --data idx >page
    check "image $image: predicted as eval does" equal "$(sed -n 's/^  predicted: \([0-9]*\) .*/\1/p' page)" \
        "$(awk -F, -v i=$image '$1 == i { print $3 }' predictions.csv)"
done
check '--neuron' "$mnistq" trace int8.st --image 3 --neuron 1:5 --data idx
check_grep '^The path:  pixels  ->  fc1 neuron 5 ' "$TMP/out" '--neuron leads the path'
check '--neuron of the last layer' "$mnistq" trace int8.st --image 3 --neuron 3:0 --data idx
check_grep ' ->  fc3 logit 0$' "$TMP/out" '--neuron of the last layer: that logit'
check '--row' "$mnistq" trace int8.st --image 3 --row 14 --data idx
check_grep 'a\. Pixel row 14,' "$TMP/out" '--row: shown in full'

# ---- the numbers: eq. 5 and 6 in the rows of the table, by awk --------------------------------------------------------

cat >check.awk <<'EOF'
function bad(what) { print "fc" layer ": " what > "/dev/stderr"; failed = 1 }
NR == 1 || /^#/ { next }
$3 == "s_x" { layer = substr($1, 3); sum = 0 }
$3 == "z_x" { z = $8 }
$3 == "term" { if (($6 - z) * $7 != $8) bad("product of input " $4); sum += $8; if (sum != $9) bad("running sum at " $4) }
$3 == "sum" { if ($8 != sum) bad("sum") }
$3 == "b_q" { bias = $8 }
$3 == "acc" { acc = $8; if (acc != sum + bias) bad("acc") }
$3 == "sum w_q" { weights = $8 }
$3 == "folded bias" { folded = $8; if (folded != bias - z * weights) bad("folded bias") }
$3 == "sum x_q w_q" { if (folded + $8 != acc) bad("folding") }
$3 == "m" { m = $8; if (m < 2 ^ 30 || m >= 2 ^ 31) bad("m") }
$3 == "right" { right = $8 }
$3 == "rounded" { exact = acc * m / 2 ^ right + 0.5; r = int(exact); if (r > exact) r--; if ($8 != r) bad("rounding"); rounded = $8 }
$3 == "z_y" { z_y = $8 }
$3 == "y_min" { lo = $8 }
$3 == "y_max" { hi = $8 }
$3 == "y_q" { y = rounded + z_y; y = y < lo ? lo : y > hi ? hi : y; if ($8 != y) bad("y_q"); checked++ }
END { exit failed || checked != 3 }
EOF
for model in int8 symmetric; do
    for image in 0 1 2 50; do
        "$mnistq" trace $model.st --image $image --data idx --results $model-$image >/dev/null
        check "$model, image $image: eq. 5 and 6, recomputed from the table" awk -F, -f check.awk $model-$image/trace.csv
    done
done

# The whole network once more, from the two files alone: their numbers and the table's, a few a line behind their name.
numbers() { # MODEL IMAGE TABLE
    header=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    tail -c +9 "$1" | head -c "$header" | tr '}' '\n' |
        sed -n 's/.*"\([a-z0-9_.]*\)":{"dtype":"\([A-Z0-9]*\)".*"data_offsets":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2 \3 \4/p' |
        while read -r name dtype first end; do
            case $dtype in F32) type=u4 ;; I32) type=d4 ;; I8) type=d1 ;; *) type=u1 ;; esac
            od -An -v -t$type -j $((8 + header + first)) -N $((end - first)) "$1" | sed "s/^/$name /"
        done
    od -An -v -tu1 -j $((16 + 784 * $2)) -N 784 idx/t10k-images-idx3-ubyte | sed 's/^/pixels /'
    csv_rows "$3" layer,neuron,step,integer | sed -n 's/^fc/code /; s/logit, predicted/logit/; s/\t/ /g; / y_q /p; / logit /p'
}
cat >engine.awk <<'EOF'
function f32(u,   e) { e = int(u / 2 ^ 23); return (2 ^ 23 + u - e * 2 ^ 23) * 2 ^ (e - 150) } # a positive float's bits
function floor(x,   i) { i = int(x); return i > x ? i - 1 : i }
function clamp(x, lo, hi) { return x < lo ? lo : x > hi ? hi : x }
function check(c, step) { if ((l, c, step) in told) { found++; if (told[l, c, step] != y[c]) exit 1 } }
$1 == "code" { told[$2, $3, $4] = $5; next }
{ for (i = 2; i <= NF; i++) v[$1, count[$1]++] = $i }
END {
    s = f32(v["fc1.input_scale", 0]); z = v["fc1.input_zero_point", 0]; least = z == 128
    for (k = 0; k < 784; k++) x[k] = clamp(floor(v["pixels", k] / 255 / s + 0.5) + z, least, 255)
    while ((("fc" (layers + 1) ".bias"), 0) in v) layers++
    for (l = 1; l <= layers; l++) {
        name = "fc" l; after = l < layers ? "fc" (l + 1) ".input" : "output"
        s_y = f32(v[after "_scale", 0]); z_y = v[after "_zero_point", 0]
        out = count[name ".bias"]; n = count[name ".weight"] / out
        for (c = 0; c < out; c++) {
            acc = v[name ".bias", c]
            for (k = 0; k < n; k++) acc += (x[k] - z) * v[name ".weight", c * n + k]
            f = s * f32(v[name ".weight_scale", count[name ".weight_scale"] > 1 ? c : 0]) / s_y
            for (right = 31; f < 0.5; right++) f *= 2
            y[c] = clamp(floor(acc * floor(f * 2 ^ 31 + 0.5) / 2 ^ right + 0.5) + z_y, l < layers ? z_y : least, 255)
            check(c, "y_q"); check(c, "logit")
        }
        for (c = 0; c < out; c++) x[c] = y[c]
        s = s_y; z = z_y
    }
    exit found != layers + out
}
EOF
for model in int8 symmetric; do
    for image in 0 50; do
        numbers $model.st $image $model-$image/trace.csv >numbers
        check "$model, image $image: the engine once more, from the files" awk -f engine.awk numbers
    done
done
"$mnistq" trace int8.st --image 3 --data idx --json >j.json
json_rows j.json step,integer >steps
check '--json: a code for each layer, an integer for each term' awk -F '\t' '
    $1 == "y_q" { n++ } $1 == "term" && $2 == "" { exit 1 } END { exit n != 3 }' steps

# ---- the worksheet ---------------------------------------------------------------------------------------------------

check 'worksheet' "$mnistq" trace int8.st --image 3 --data idx --worksheet --key key.txt
cp "$TMP/out" sheet
blanks() { grep -oE '\([0-9]+\)____' sheet | tr -d '()_' | sort -n; }
answers() { grep -oE '\([0-9]+\) ' key.txt | tr -d '() ' | sort -n; }
same_numbers() { blanks >blanks.txt && answers >answers.txt && [ "$(wc -l <blanks.txt)" -ge 20 ] && cmp blanks.txt answers.txt; }
check 'a key for each blank, each numbered once' same_numbers
in_order() { grep -oE '\([0-9]+\)____' sheet | tr -d '()_' >order.txt && blanks | cmp - order.txt; }
check 'blanks are numbered as one reads' in_order
check_no_grep 'Key to the worksheet' sheet 'the key is not on the sheet'
"$mnistq" trace int8.st --image 3 --data idx --results full >/dev/null
row_is() { # STEP COLUMN: of each layer, its number is among the answers
    grep ",$1," full/trace.csv | cut -d, -f8 | while read -r number; do grep -qE "\) $number( |$)" key.txt || exit 1; done; }
for step in sum acc 'acc m' rounded y_q; do check "the key has $step" row_is "$step"; done
products_hidden() { # the 64-bit products cannot be read off the sheet
    grep ',acc m,' full/trace.csv | cut -d, -f8 | while read -r number; do ! grep -q -e "$number" sheet || exit 1; done; }
check 'the sheet does not tell the products' products_hidden
check 'worksheet, the key below' "$mnistq" trace int8.st --image 3 --data idx --worksheet
check_grep 'cut here' "$TMP/out" 'worksheet, the key below: a line to cut along'
check 'worksheet to files' "$mnistq" trace int8.st --image 3 --data idx --worksheet --results sheets
same_page() { sed '/^Made by: /,$d' "$1" >one && sed '/^Made by: /,$d' "$2" >two && cmp one two; } # the commands differ
check 'worksheet to files: the sheet' same_page sheet sheets/worksheet.txt
check 'worksheet to files: the key' same_page key.txt sheets/worksheet-key.txt
made_by() { sed -n '/^Made by: /,$p' "$1" | tr '\n' ' ' | grep -q '^Made by: mnistq trace .* --results sheets $'; }
check 'worksheet to files: its command' made_by sheets/worksheet.txt
check 'worksheet to files: the command of the key' made_by sheets/worksheet-key.txt
folder=sheets/of-a-name-as-long-as-those-that-people-give-to-folders-of-a-course-on-quantization
check 'worksheet to a folder of a long name' "$mnistq" trace int8.st --image 3 --data idx --worksheet --results "$folder"
check '... no line is wider than 80, a name apart' sh -c "awk 'length > 80 && / / && !/of-a-name/ { print; bad = 1 } END { exit bad }' $folder/*.txt"
check 'no line of sheet and key is wider than 80' sh -c "awk 'length > 80 { print FILENAME, \$0; bad = 1 } END { exit bad }' sheets/*.txt"

# ---- wrong use -------------------------------------------------------------------------------------------------------

wrong() { # STATUS NAME COMMAND...: that status, and one line that says why
    check_status "$@"
    if [ "$(wc -l <"$TMP/err")" -eq 1 ]; then tap_pass "$2: in one line"; else tap_fail "$2: in one line" '' "$TMP/err"; fi
}
wrong 2 'no model' "$mnistq" trace
wrong 1 'an fp32 model' "$mnistq" trace fp32.st --data idx
wrong 2 'an image too far' "$mnistq" trace int8.st --image 100 --data idx
check_grep '0 to 99' "$TMP/err" 'an image too far: how many there are'
for text in 0:0 4:0 1:24 3:10 1 x 1:2x 1:-1 ''; do wrong 2 "--neuron '$text'" "$mnistq" trace int8.st --neuron "$text" --data idx; done
wrong 2 '--row too far' "$mnistq" trace int8.st --row 28 --data idx
wrong 2 '--key without --worksheet' "$mnistq" trace int8.st --key k --data idx
wrong 2 '--json and --worksheet' "$mnistq" trace int8.st --json --worksheet --data idx
wrong 1 '--fp32 that is int8' "$mnistq" trace int8.st --fp32 symmetric.st --data idx
wrong 1 '--fp32 of another shape' "$mnistq" trace int8.st --fp32 other.st --data idx
check_grep '784-24-16-10.*784-12-10' "$TMP/err" '--fp32 of another shape: both are named'
wrong 1 '--fp32 of another seed' "$mnistq" trace int8.st --fp32 second.st --data idx
check_grep 'seed 1 .*seed 9 ' "$TMP/err" '--fp32 of another seed: both are named'
wrong 1 'a model that is not there' "$mnistq" trace nowhere.st --data idx
wrong 1 'data that is not there' "$mnistq" trace int8.st --data nowhere
wrong 1 'a key where no folder is' "$mnistq" trace int8.st --worksheet --key nowhere/key --data idx
wrong 1 'results under a file' "$mnistq" trace int8.st --data idx --results int8.st/x
"$BUILD/tests/make_idx" "$TMP/small" 20 10 14 14
wrong 1 'images of another size' "$mnistq" trace int8.st --data small
check 'nothing was written without --results' [ ! -e results ]

# ---- no training files -----------------------------------------------------------------------------------------------

mkdir tests tests/broken && cp idx/t10k-* tests && cp idx/* tests/broken && echo >tests/broken/train-images-idx3-ubyte
"$mnistq" trace int8.st --image 3 --data idx | sed 's/ idx / - /' >all
for folder in tests tests/broken; do
    check "$folder: trace" "$mnistq" trace int8.st --image 3 --data $folder --results few
    sed "s/ ${folder#*/} / - /" few/trace.txt >few.txt
    check "$folder: the same page" same_page all few.txt
    check_grep '^# data: .*, 100 test images of 28 x 28, 10 classes; its training images were not read$' few/trace.csv \
        "$folder: the table says so"
    check "$folder: SHA-256 of the test files" [ "$(sed -n 's/^# test data SHA-256: //p' few/trace.csv)" = \
        "$(cat idx/t10k-images-idx3-ubyte idx/t10k-labels-idx1-ubyte | sha256sum | cut -d' ' -f1)" ]
done
"$mnistq" trace int8.st --image 3 --data idx --results many >/dev/null
check_grep '^# data: .*, 1000 training and 100 test images ' many/trace.csv 'where all files are there, the table tells of all'
check_grep '^# data SHA-256: ' many/trace.csv 'where all files are there: their SHA-256'
if [ -n "${MNIST_DIR-}" ]; then
    mkdir real && cp "$MNIST_DIR"/t10k-* real
    check 'MNIST by its test files' "$mnistq" trace int8.st --image 3 --data real
    check_grep ': test image 3 of MNIST, a 0$' "$TMP/out" 'MNIST by its test files: its name'
else
    skip 'MNIST by its test files' 'MNIST is not there'
fi

tap_done
