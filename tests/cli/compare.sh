#!/bin/sh
# TAP tests of `mnistq compare` and `mnistq inspect --histogram` on a small set of built-in digits:
#   BUILD=build sh tests/cli/compare.sh
# shellcheck disable=SC2317 # most functions are only called through check

. tests/cli/tap.sh

tap_program
make_digits "$TMP/idx" 1500 400
cd "$TMP" || exit 1

"$mnistq" train --data idx --hidden 24,16 --epochs 3 --out fp32.st >/dev/null &&
    "$mnistq" quantize fp32.st --data idx --out int8.st >/dev/null &&
    "$mnistq" train --data idx --hidden 12 --epochs 1 --out other.st >/dev/null &&
    "$mnistq" train --data idx --hidden 24,16 --epochs 1 --seed 9 --out second.st >/dev/null &&
    "$mnistq" ladder fp32.st --data idx --results rungs --images 200 --group 28 >/dev/null ||
    tap_bail 'train, quantize or ladder does not work'
rungs=rungs/models/ladder

rows() { echo $(($(csv_rows "$1" | wc -l))); }
eval_cell() { "$mnistq" eval "$1" --data idx --json >eval.json && json_value eval.json "rows[0].$2"; }
equal() { [ "$1" = "$2" ] || { echo "$1 is not $2" >&2; false; }; }

# ---- an fp32 model and the int8 one made from it ------------------------------------------------------------------

check 'compare: fp32 and int8' "$mnistq" compare fp32.st int8.st --data idx --sensitivity --results r
cp "$TMP/out" shown
check 'compare: no line is wider than 80 columns' sh -c "awk 'length > 80 { exit 1 }' shown"
for column in accuracy fixed broken weight margin step format; do
    check_grep "^ .*$column" shown "compare: the terminal shows $column"
done
check_grep 'what each step costs' shown 'the waterfall is shown without being asked for'
for table in compare compare-layers compare-changes waterfall sensitivity; do
    check "$table.md" [ -s r/$table.md ]
    check_grep '^# command: mnistq compare ' r/$table.csv "$table.csv: its command"
    check_grep '^# data SHA-256: ' r/$table.csv "$table.csv: its data"
done
png() { [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]; }
check 'compare.png is a PNG' png r/compare.png

check 'correct of a is what eval says' equal "$(csv_cell r/compare.csv 1 correct)" "$(eval_cell fp32.st correct)"
check 'correct of b is what eval says' equal "$(csv_cell r/compare.csv 2 correct)" "$(eval_cell int8.st correct)"
check 'ties of b are those of eval' sh -c "grep -q 'b: $(eval_cell int8.st ties) image' r/compare.md || [ $(eval_cell int8.st ties) = 0 ]"
check 'waterfall: the first row is fp32' equal "$(csv_cell r/waterfall.csv 1 correct)" "$(eval_cell fp32.st correct)"
check 'waterfall: the last row is the integer engine' equal "$(csv_cell r/waterfall.csv 6 correct)" "$(eval_cell int8.st correct)"
check 'waterfall: six steps' equal "$(rows r/waterfall.csv)" 6
for column in changed fixed broken p logit_sqnr_db; do
    check "waterfall: $column of the last row is that of the comparison" \
        equal "$(csv_cell r/waterfall.csv 6 $column)" "$(csv_cell r/compare.csv 2 $column)"
done
csv_rows r/waterfall.csv logit_sqnr_db,sqnr_change_db >steps
check 'waterfall: increments add up' sh -c "awk -F '\t' '{ s = \$1; d = \$2 }
    NR > 2 { if (s - before - d > 0.011 || before + d - s > 0.011) exit 1 } { before = s }' steps"
check 'waterfall: the steps are in their order' equal "$(csv_rows r/waterfall.csv step | tr '\n' ',')" \
    'fp32,+ weights,+ activations,+ logits,+ bias,+ requantize,'

mcnemar() { awk -v f="$1" -v b="$2" 'BEGIN { # exact, by a product instead of log-gamma
    n = f + b; k = f < b ? f : b; term = 1; for (i = 0; i < n; i++) term /= 2
    for (i = 0; i <= k; i++) { sum += term; term = term * (n - i) / (i + 1) }
    p = 2 * sum; printf "%.4f\n", (p > 1 ? 1 : p) }'; }
p_of_all() { # FILE: each row that has a p
    csv_rows "$1" fixed,broken,p | awk -F '\t' '$3 != ""' >p.rows
    [ -s p.rows ] && while read -r fixed broken p; do equal "$(mcnemar "$fixed" "$broken")" "$p" || return 1; done <p.rows
}
for table in compare waterfall sensitivity; do check "$table: McNemar's p, recomputed" p_of_all r/$table.csv; done
check "McNemar's p by hand: 2 (1 + 4) / 16" equal "$(mcnemar 3 1)" 0.6250

"$mnistq" eval fp32.st --data idx --predictions a.csv >/dev/null
"$mnistq" eval int8.st --data idx --predictions b.csv >/dev/null
paste -d, a.csv b.csv | awk -F, 'NR > 1 && $3 != $6 { print $1 "," $2 "," $3 "," $6 }' | sort >expected
csv_rows r/compare-changes.csv image,label,a,b | tr '\t' , | sort >found
check 'compare-changes: those of the predictions of eval' cmp expected found
check 'compare-changes: as many as changed says' equal "$(rows r/compare-changes.csv)" "$(csv_cell r/compare.csv 2 changed)"
csv_rows r/compare-changes.csv margin_a,margin_b >margins
check 'compare-changes: margins fall, and none is negative' awk '
    $1 < 0 || $2 < 0 || (NR > 1 && $1 > before) { exit 1 } { before = $1 }' margins

check 'compare-layers: pixels and a row a layer' equal "$(rows r/compare-layers.csv)" 4
csv_rows r/compare-layers.csv layer,weight_sqnr_db,weight_cosine >layers
check 'compare-layers: int8 weights at 35 to 55 dB' awk '/^fc/ { n++; if ($2 < 35 || $2 > 55 || $3 < 0.999) exit 1 } END { exit n != 3 }' layers
check 'sensitivity: three formats by three layers and all' equal "$(rows r/sensitivity.csv)" 12
csv_find r/sensitivity.csv layer=all logit_sqnr_db >bits
check 'sensitivity: fewer bits, less SQNR' awk 'n++ && $1 >= before { exit 1 } { before = $1 } END { exit n != 3 }' bits

"$mnistq" compare fp32.st int8.st --data idx --json >j.json
check '--json: one table, and the others in it' equal "$(json_lines j.json | sed -n 's/^tables[.]\([a-z-]*\)[.].*/\1/p' | uniq | tr '\n' ' ')" \
    'compare-layers compare-changes waterfall '
check '--json: the summary of the CSV' equal "$(json_value j.json 'rows[1].correct')" "$(csv_cell r/compare.csv 2 correct)"
check '--json: the numbers of the CSV' equal "$(json_value j.json 'tables.waterfall.rows[5].correct')" "$(csv_cell r/waterfall.csv 6 correct)"

# ---- other pairs ----------------------------------------------------------------------------------------------------

check 'a model and itself' "$mnistq" compare fp32.st fp32.st --data idx --results same
check 'nothing changed' equal "$(csv_cell same/compare.csv 2 changed)" 0
check 'no difference is an empty SQNR' equal "$(csv_cell same/compare.csv 2 logit_sqnr_db)" ''
check 'no waterfall between fp32 and fp32' [ ! -e same/waterfall.md ]
check 'another network' "$mnistq" compare second.st int8.st --data idx
check_no_grep 'what each step costs' "$TMP/out" 'int8 was not made from it: no waterfall'
check 'another network with --waterfall' "$mnistq" compare second.st int8.st --data idx --waterfall --results forced
check '--waterfall: ends at the integer engine all the same' equal "$(csv_cell forced/waterfall.csv 6 correct)" "$(eval_cell int8.st correct)"
"$mnistq" compare fp32.st int8.st --data idx --waterfall --results plain >/dev/null
check_no_grep 'not a.s rounded to the nearest' plain/waterfall.md 'rounded weights: the waterfall has nothing more to say of them'
"$mnistq" compare fp32.st "$(find $rungs -name '08-*QAT*')" --data idx --waterfall --results qat >/dev/null
check_grep 'not a.s rounded to the nearest code' qat/waterfall.md 'QAT: the waterfall says that its first step is not only rounding'
for kind in 01 02 06 07 12 14 17 25 31 38; do
    file=$(find $rungs -name "$kind-*")
    check "compare fp32 ${file##*/}" "$mnistq" compare fp32.st "$file" --data idx --results pair
    check "${file##*/}: correct is what eval says" equal "$(csv_cell pair/compare.csv 2 correct)" "$(eval_cell "$file" correct)"
    check "inspect --histogram ${file##*/}" "$mnistq" inspect --histogram "$file" --data idx
done

# bf16: on this CPU's own products where it has them, decoded with --kernel of another instruction set
bf16=$(find $rungs -name '02-bf16*')
"$mnistq" compare fp32.st "$bf16" --data idx --results bf16 >/dev/null
csv_rows bf16/compare-layers.csv layer,weight_sqnr_db,output_sqnr_db >layers
layers_between() { awk -v lo="$1" -v hi="$2" '/^fc/ { n++; if ($2 < 45 || $2 > 65 || $3 < lo || $3 > hi) exit 1 }
    END { exit n != 3 }' layers; }
check 'bf16: 8 bits of mantissa in weights and in every layer' layers_between 40 65
"$mnistq" eval "$bf16" --data idx --predictions b.csv >/dev/null
paste -d, a.csv b.csv | awk -F, 'NR > 1 && $3 != $6 { print $1 "," $2 "," $3 "," $6 }' | sort >expected
csv_rows bf16/compare-changes.csv image,label,a,b | tr '\t' , | sort >found
check 'bf16: layer by layer it answers as it does at once' cmp expected found
check 'bf16 and itself' "$mnistq" compare "$bf16" "$bf16" --data idx --results same16
check 'bf16 and itself: no difference in any layer' equal \
    "$(csv_rows same16/compare-layers.csv output_sqnr_db,output_max_error | sort -u | tr '\t' ,)" ,0.000000
check_no_grep 'bf16' shown 'fp32 and int8: no bf16 is spoken of'

mkdir tests && cp idx/t10k-* tests
check 'no training files' "$mnistq" compare fp32.st int8.st --data tests --results few
check 'no training files: the same numbers' equal "$(csv_rows r/compare.csv)" "$(csv_rows few/compare.csv)"
check_grep 'its training images were not read' few/compare.csv 'no training files: the table says so'
check 'a folder of results is only made where it is asked for' [ ! -e results ]

# ---- wrong use ------------------------------------------------------------------------------------------------------

wrong() { # STATUS NAME COMMAND...: that status, and one line that says why
    check_status "$@"
    if [ "$(wc -l <"$TMP/err")" -eq 1 ]; then tap_pass "$2: in one line"; else tap_fail "$2: in one line" '' "$TMP/err"; fi
}
wrong 2 'one model' "$mnistq" compare fp32.st
wrong 2 'three models' "$mnistq" compare fp32.st int8.st int8.st
wrong 1 'two shapes' "$mnistq" compare fp32.st other.st --data idx
check_grep '784-24-16-10.*784-12-10' "$TMP/err" 'two shapes: both are named'
wrong 1 '--waterfall to fp32' "$mnistq" compare fp32.st second.st --data idx --waterfall
wrong 1 '--waterfall from int8' "$mnistq" compare int8.st int8.st --data idx --waterfall
wrong 1 '--sensitivity of int8' "$mnistq" compare int8.st fp32.st --data idx --sensitivity
wrong 2 'an empty --results' "$mnistq" compare fp32.st int8.st --data idx --results ''
wrong 2 'an unknown option' "$mnistq" compare fp32.st int8.st --wrong
wrong 1 'a model that is not there' "$mnistq" compare fp32.st nowhere.st --data idx
check_grep '^mnistq: nowhere.st' "$TMP/err" 'a model that is not there: named'
wrong 1 'data that is not there' "$mnistq" compare fp32.st int8.st --data nowhere
"$BUILD/tests/make_idx" "$TMP/small" 20 10 14 14
wrong 1 'images of another size' "$mnistq" compare fp32.st int8.st --data small
wrong 1 'results under a file' "$mnistq" compare fp32.st int8.st --data idx --results int8.st/x

# ---- inspect: histograms and the picture of layer 1 -----------------------------------------------------------------

if sed --version >/dev/null 2>&1; then # GNU, which edits bytes; metadata that the tensors do not hold to: codes must not be walked by them
    "$mnistq" quantize fp32.st --data idx --format int4 --out int4.st >/dev/null
    for edit in 's/"weight_bits":"4"/"weight_bits":"9"/' 's/"architecture":"mlp [0-9]*/"architecture":"mlp 999/'; do
        sed "$edit" int4.st >hostile.st
        check 'inspect --histogram: the edit took' sh -c '! cmp -s int4.st hostile.st'
        check_status 1 "inspect --histogram: $edit" "$mnistq" inspect --histogram hostile.st
        check '... in one line' [ "$(wc -l <"$TMP/err")" -eq 1 ]
    done
else
    skip 'inspect --histogram: hostile metadata' 'sed is not GNU sed, which edits bytes'
fi
check 'inspect --histogram int8' "$mnistq" inspect --histogram int8.st --data idx --results h
row_of() { csv_find h/histogram.csv "tensor=$1" "$2"; }
check 'int8: 255 codes, -128 is none of them' equal "$(row_of fc1.weight codes)" 255
check 'int8: elements' equal "$(row_of fc1.weight elements)" 18816
check 'int8: used and never used are all' equal "$(($(row_of fc1.weight used) + $(row_of fc1.weight never_used)))" 255
check 'int8: each row reaches an end of the codes' sh -c "awk 'BEGIN { exit !($(row_of fc1.weight at_lowest_percent) + $(row_of fc1.weight at_highest_percent) >= 100 * 24 / 18816 - 0.001) }'"
check 'int8: entropy between 5 and 8 bits' sh -c "awk 'BEGIN { e = $(row_of fc1.weight entropy_bits); exit !(e > 5 && e < 8) }'"
check 'weights that were not asked for beside fp32: no share of saturated ones' equal "$(row_of fc1.weight saturated_percent)" ''
"$mnistq" inspect --histogram int8.st --fp32 fp32.st --data idx --results h/ --weights-png h/layer1.png >said
check_grep '^Written to h/: histogram .*, layer1[.]png$' said 'inspect: what was written, the picture as well'
check 'absmax: no weight is saturated' equal "$(row_of fc1.weight saturated_percent)" 0.0000
check_grep '^# data SHA-256: ' h/histogram.csv 'histogram.csv: its data'
"$mnistq" quantize fp32.st --data idx --observer percentile --out cut.st >/dev/null &&
    "$mnistq" inspect --histogram cut.st --data idx --results h >/dev/null
check 'a percentile: some activations are' sh -c "awk 'BEGIN { s = $(row_of 'fc1 output' saturated_percent); exit !(s > 0 && s <= $(row_of 'fc1 output' at_highest_percent)) }'"
"$mnistq" inspect --histogram int8.st --data idx --results h >/dev/null
check 'the activations of the test images' equal "$(row_of 'fc1 output' elements)" 9600
header=$(od -An -tu8 -N8 int8.st | tr -d ' ')
offsets=$(tail -c +9 int8.st | head -c "$header" | sed 's/.*"fc1.weight":{[^}]*"data_offsets":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2/')
first=${offsets% *} end=${offsets#* }
check 'used, clipped and entropy, recomputed from the file' equal \
    "$(od -An -v -td1 -j $((8 + header + first)) -N $((end - first)) int8.st | awk '
        { for (i = 1; i <= NF; i++) { seen[$i]++; n++ } }
        END { for (c in seen) { used++; bits -= seen[c] / n * log(seen[c] / n) / log(2) }
              printf "%d,%.4f,%.4f,%.3f\n", used, 100 * seen[-127] / n, 100 * seen[127] / n, bits }')" \
    "$(row_of fc1.weight used),$(row_of fc1.weight at_lowest_percent),$(row_of fc1.weight at_highest_percent),$(row_of fc1.weight entropy_bits)"
low=$(find $rungs -name '*int4-row-round*' | head -n 1)
[ -n "$low" ] && "$mnistq" inspect --histogram "$low" --results h >/dev/null
check 'int4: all 16 codes' equal "$(row_of fc1.weight codes)" 16
narrow=$(find $rungs -name '*int2-narrow*' | head -n 1)
[ -n "$narrow" ] && "$mnistq" inspect --histogram "$narrow" --results h >/dev/null
check 'int2-narrow: 3 codes of 4' equal "$(row_of fc1.weight codes)" 3
check 'the fp32 file: values' "$mnistq" inspect --histogram fp32.st --data idx --results h
check 'the fp32 file: values in 256 steps' equal "$(row_of fc1.weight dtype),$(row_of fc1.weight holds),$(row_of fc1.weight codes)" F32,values,256
"$mnistq" inspect --histogram int8.st --data idx >shown
check 'inspect --histogram: no line is wider than 80 columns' sh -c "grep -q 'fc1.weight_scale ' shown && awk 'length > 80 { exit 1 }' shown"
"$mnistq" inspect int8.st >shown
check 'inspect: no line is wider than 80 columns' sh -c "grep -q 'fc1.input_zero_point ' shown && awk 'length > 80 { exit 1 }' shown"
for options in '' --histogram; do
    # shellcheck disable=SC2086 # none, or one
    "$mnistq" inspect int8.st $options --json >i.json
    check "inspect $options --json: the one shape" equal "$(json_lines i.json | sed 's/[.[].*//; s/\t.*//' | uniq | tr '\n' ' ')" 'title rows notes provenance '
done

check 'inspect --weights-png' "$mnistq" inspect int8.st --fp32 fp32.st --weights-png w.png
check 'weights.png is a PNG' png w.png
check 'weights.png of an fp32 file alone' "$mnistq" inspect fp32.st --weights-png w32.png
wrong 2 '--weights-png of int8 without --fp32' "$mnistq" inspect int8.st --weights-png w.png
wrong 1 '--fp32 of another shape' "$mnistq" inspect int8.st --fp32 other.st --weights-png w.png
wrong 1 '--fp32 of another seed' "$mnistq" inspect int8.st --fp32 second.st --weights-png w.png
wrong 1 '--fp32 that is int8' "$mnistq" inspect int8.st --fp32 int8.st --weights-png w.png
wrong 2 '--fp32 without --histogram or --weights-png' "$mnistq" inspect int8.st --fp32 fp32.st
wrong 2 '--results without --histogram' "$mnistq" inspect int8.st --results h
wrong 2 '--data without --histogram' "$mnistq" inspect int8.st --data idx
wrong 1 'a picture where no folder is' "$mnistq" inspect int8.st --fp32 fp32.st --weights-png nowhere/w.png
"$BUILD/tests/make_idx" "$TMP/wide" 60 20 10 28
"$mnistq" train --data wide --hidden 5 --epochs 1 --out wide.st >/dev/null
wrong 2 'images that are not square' "$mnistq" inspect wide.st --weights-png wide.png
check 'images that are not square, with --data' "$mnistq" inspect wide.st --weights-png wide.png --data wide

tap_done
