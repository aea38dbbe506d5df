#!/bin/sh
# TAP tests of `mnistq pitfalls` and `mnistq eval --break` on a small set of built-in digits. From the root:
#   BUILD=build sh tests/cli/pitfalls.sh
# shellcheck disable=SC2317 # most functions are only called through check

. tests/cli/tap.sh

tap_program
make_digits "$TMP/idx" 2000 300
cd "$TMP" || exit 1
export OMP_WAIT_POLICY=passive # threads of many short steps, on a machine that has more to do: do not spin

"$mnistq" train --data idx --hidden 32,24 --epochs 6 --out fp32.st >/dev/null || tap_bail 'train does not work'
"$mnistq" quantize fp32.st --data idx --out int8.st >/dev/null || tap_bail 'quantize does not work'
"$mnistq" quantize fp32.st --data idx --activations symmetric --out symmetric.st >/dev/null

# ---- pitfalls --------------------------------------------------------------------------------------------------

# Fields of a CSV by name, rows that match; texts may hold commas within quotes.
select_rows() { # FILE COLUMN CONDITION...: CONDITION is NAME=VALUE
    awk -v wanted="$2" -v conditions="$(shift 2 && printf '%s;' "$@")" '
        function split_csv(line, out,    n, i, c, quoted, field) {
            n = 0; field = ""; quoted = 0
            for (i = 1; i <= length(line); i++) {
                c = substr(line, i, 1)
                if (c == "\"") quoted = !quoted
                else if (c == "," && !quoted) { out[++n] = field; field = "" }
                else field = field c
            }
            out[++n] = field
            return n
        }
        /^#/ { next }
        NR == 1 { n = split_csv($0, names); for (i = 1; i <= n; i++) at[names[i]] = i; m = split(conditions, c, ";"); next }
        {
            split_csv($0, cells); ok = 1
            for (i = 1; i < m; i++) { p = index(c[i], "="); if (cells[at[substr(c[i], 1, p - 1)]] != substr(c[i], p + 1)) ok = 0 }
            if (ok) print cells[at[wanted]]
        }' "$1"
}
rising() { awk 'NR > 1 && $1 + 0 <= last { bad = 1 } { last = $1 + 0 } END { exit bad || NR < 5 }' "$1"; } # FILE
all_are() { awk -v want="$2" '$1 != want { bad = 1 } END { exit bad || NR < 5 }' "$1"; } # FILE VALUE
between() { awk -v x="$1" -v lo="$2" -v hi="$3" 'BEGIN { exit !(x != "" && x >= lo && x <= hi) }'; } # X LO HI

check 'pitfalls' "$mnistq" pitfalls fp32.st --data idx --results r
check_grep '^Written to r: ' "$TMP/out" 'pitfalls: says where the tables are'
for name in pitfalls pitfalls-outlier pitfalls-outlier-seeds pitfalls-calibration pitfalls-calibration-brief pitfalls-accumulator \
    pitfalls-symmetric pitfalls-quiet; do
    check_grep '^- command: `mnistq pitfalls' r/$name.md "$name.md: its command"
    check_grep '^# data SHA-256: ' r/$name.csv "$name.csv: its provenance"
    check_no_grep '[^a-z-](nan|inf)[^a-z]' r/$name.csv "$name.csv: every number is one"
done
for name in outlier outlier-seeds calibration calibration-brief accumulator symmetric quiet; do
    check_grep '^See: ' r/pitfalls-$name.md "$name: what to see"
done
for name in outlier calibration accumulator symmetric quiet; do
    check_grep "^$name," r/pitfalls.csv "$name: in the summary"
done

o=r/pitfalls-outlier.csv
check 'outlier: the first row is the lesson: 10 times the scale' [ "$(select_rows $o scale_ratio k=10 | sed 1q)" = 10.00 ]
check 'outlier: ... and 10 times the error' between "$(select_rows $o error_ratio k=10 | sed 1q)" 9.5 10.5
check 'outlier: ... per-channel only in its row' [ "$(select_rows $o other_rows_error_ratio k=10 granularity=per-channel repair=none | sed 1q)" = 1.00 ]
for sign in negative positive; do
    rows() { select_rows $o "$1" weights="fc2, $sign" granularity="$2" repair=none; }
    rows error_ratio per-tensor >errors
    check "outlier, $sign: per-tensor, the error of all others grows with k" rising errors
    check "outlier, $sign: ... 7 rows" [ "$(wc -l <errors)" -eq 7 ]
    rows other_rows_error_ratio per-channel >errors
    check "outlier, $sign: per-channel, other rows do not feel it" all_are errors 1.00
    rows own_row_error_ratio per-channel >errors
    check "outlier, $sign: ... its own does" rising errors
    select_rows $o error_ratio weights="fc2, $sign" granularity=per-tensor 'repair=column apart in fp16' >errors
    check "outlier, $sign: the column apart, no error grows" all_are errors "$(sed 1q errors)"
    ruined=$(rows error_ratio per-tensor | tail -1)
    for repair in 'Hadamard rotation' 'cross-layer equalization' SmoothQuant; do
        select_rows $o error_ratio weights="fc2, $sign" granularity=per-tensor "repair=$repair" >errors
        check "outlier, $sign: $repair leaves less than half of the error" sh -c "[ \$(wc -l <errors) -eq 7 ] && tail -1 errors | awk '{ exit !(\$1 > 0 && \$1 < $ruined / 2) }'"
        check "outlier, $sign: ... in integers" [ "$(select_rows $o arithmetic weights="fc2, $sign" "repair=$repair" | sort -u)" = integer ]
    done
done

check 'outlier over seeds: of one model, one network' [ "$(select_rows r/pitfalls-outlier-seeds.csv accuracy_percent_sd k=100 | sort -u)" = '' ]
check 'outlier over seeds: ... its row of pitfalls-outlier' [ "$(select_rows r/pitfalls-outlier-seeds.csv accuracy_percent repair=none)" = \
    "$(for w in 'fc2, negative' 'fc2, positive'; do for g in per-tensor per-channel; do
        select_rows $o accuracy_percent k=100 repair=none weights="$w" granularity=$g; done; done)" ]
check 'outlier over seeds: three networks' "$mnistq" pitfalls --data idx --hidden 16,16 --seeds 3 --results r3
check 'outlier over seeds: ... have a mean and a deviation' between "$(select_rows r3/pitfalls-outlier-seeds.csv fp32_percent_sd 'repair=none' | sed 1q)" 0.01 50
check_grep 'over 3 networks' r3/pitfalls-outlier-seeds.md 'outlier over seeds: ... which it says'

c=r/pitfalls-calibration.csv
check 'calibration in short: as many rows' [ "$(grep -vc '^#' r/pitfalls-calibration-brief.csv)" -eq "$(grep -vc '^#' $c)" ]
cut() { select_rows $c "$1" calibration="$2" | sed 1q; }
check 'calibration: representative images, hardly a code is cut' between "$(cut fc1_saturated_percent representative)" 0 0.1
check 'calibration: [0, 6] run on [0, 20], many are' between "$(cut fc1_saturated_percent '[0, 6], run on [0, 20]: hidden ranges x 6/20')" 1 100
check 'calibration: bytes that are not divided, no code is left' between "$(cut accuracy_percent 'bytes 0 to 255, not divided by 255')" 0 40
check 'calibration: dimmed images, pixels are cut' between "$(cut input_saturated_percent 'images dimmed to 6/20')" 1 100
check 'calibration: each class alone' [ "$(grep -c '^only class' $c)" -eq 10 ]

a=r/pitfalls-accumulator.csv
check 'accumulator: int32 never overflows' [ "$(select_rows $a overflowing_percent accumulator=int32 | sort -u)" = 0.000 ]
check 'accumulator: int8 nearly always does' between "$(select_rows $a overflowing_percent accumulator=int8-wrap layer=fc1)" 90 100
check 'accumulator: ... within the first products' between "$(select_rows $a first_overflow_products accumulator=int8-wrap layer=fc1)" 1 5
check 'accumulator: int16 overflows later' between "$(select_rows $a first_overflow_products accumulator=int16-wrap layer=fc1)" 5 784
check 'accumulator: int8 leaves little' between "$(select_rows $a accuracy_percent accumulator=int8-wrap layer=all)" 0 50

s=r/pitfalls-symmetric.csv
check 'symmetric: half of the codes are never used' between "$(select_rows $s never_used_percent bits=8 activations=symmetric layer=fc1)" 50 75
lost=$(paste -d ' ' - - <<END | awk '{ print $1 - $2 }'
$(select_rows $s rounding_sqnr_db bits=8 activations=asymmetric layer=fc1)
$(select_rows $s rounding_sqnr_db bits=8 activations=symmetric layer=fc1)
END
)
check 'symmetric: which costs 6 dB' between "$lost" 5 7

q=r/pitfalls-quiet.csv
changed() { select_rows $q "$1" fault="$2" network="$3"; }
check 'quiet: the zero point is missed where it is not 0' between "$(changed different_percent no-zero-point symmetric)" 1 100
check 'quiet: ... and only there' [ "$(changed different_percent no-zero-point asymmetric)" = 0.000 ]
check_grep '^quiet,"clamp-twice, (asymmetric|powers of two) network' r/pitfalls.csv 'quiet: the summary shows a fault where it shows'
check 'quiet: truncation shows everywhere' between "$(changed different_percent truncation asymmetric)" 1 100
check 'quiet: ties show where scales are powers of two' between "$(changed different_percent ties-even 'powers of two')" 0.001 50
check 'quiet: nothing broken, nothing changed' [ "$(changed changed none asymmetric)" = 0 ]

"$mnistq" ladder fp32.st --data idx --results rungs --images 200 --group 28 >/dev/null
dynamic=$(find rungs -name '06-*')
check 'pitfalls of a model with ranges taken at run time' "$mnistq" pitfalls "$dynamic" --data idx --results rd
cp "$TMP/out" screen
check 'pitfalls: what is printed fits a screen' [ "$(wc -l <screen)" -le 45 ]
check '... a row for each of the five' [ "$(grep -cE '^  (outlier|calibration|accumulator|symmetric|quiet) ' screen)" -eq 5 ]
worst() { csv_rows rd/pitfalls.csv pitfall,accuracy_provoked | awk -F '\t' '$1 == "outlier" && (!n++ || $2 < least) { least = $2 } END { print least }'; }
check '... with the try that cost most' grep -qE "^  outlier .* $(worst) " screen
check_grep '^# model: .*, read back to fp32' rd/pitfalls.csv 'pitfalls: ... says that it was read back'

check 'accumulator: int8 gives every image one answer' [ "$(select_rows $a classes_answered accumulator=int8-wrap layer=all)" -le 3 ]
check 'symmetric: a bit is lost' between "$(select_rows $s effective_bits bits=8 activations=symmetric layer=fc1)" 1 7

"$mnistq" pitfalls int8.st --data idx --results r8 --json >all.json
check 'pitfalls --json is JSON' json_lines all.json
cp "$TMP/out" all.lines
check_grep '^provenance.command.mnistq pitfalls int8.st' all.lines '... with its provenance'
check '... the summary' between "$(json_value all.json 'rows[0].accuracy_before')" 50 100
check '... and seven tables, none empty' [ "$(sed -n 's/^tables[.]\([^.[]*\)[.]rows\[0\].*/\1/p' all.lines | sort -u | wc -l)" -eq 7 ]

# ---- eval --break ----------------------------------------------------------------------------------------------

"$mnistq" eval int8.st --data idx --predictions right.csv >/dev/null
check 'eval --break none' "$mnistq" eval int8.st --data idx --break none --predictions none.csv
check 'eval --break none: the same answers' cmp right.csv none.csv
check 'eval --break int8-wrap' "$mnistq" eval int8.st --data idx --break int8-wrap --predictions broken.csv
check_grep 'Broken on purpose, int8-wrap: ' "$TMP/out" 'eval --break: says so'
check_grep '[1-9].*% of the logits. codes are not what they should be' "$TMP/out" 'eval --break: and how much it does'
check 'eval --break no-zero-point, asymmetric: ReLU leaves zero points of 0' "$mnistq" eval int8.st --data idx --break no-zero-point
check_grep 'leaves no trace' "$TMP/out" '... is told'
check 'eval --break int8-wrap: other answers' sh -c '! cmp -s right.csv broken.csv'
check 'eval --break no-zero-point, symmetric' "$mnistq" eval symmetric.st --data idx --break no-zero-point --predictions broken.csv
check 'eval --break no-zero-point: other answers' sh -c '! cmp -s right.csv broken.csv'
check 'eval --codes' "$mnistq" eval int8.st --data idx --codes sound.csv
check 'eval --codes: a line an image, a column a neuron' sh -c "awk -F, 'NF != 2 + 32 + 24 + 10 { exit 1 } END { exit NR != 101 }' sound.csv"
check 'eval --codes --break none' "$mnistq" eval int8.st --data idx --codes none.csv --break none
check 'eval --codes --break none: the same codes' cmp sound.csv none.csv
check 'eval --codes --break truncation' "$mnistq" eval int8.st --data idx --codes broken.csv --break truncation
one_too_low() { # in the first layer, whose inputs are right: right or 1 too low, as --break list tells of truncation
    paste -d, sound.csv broken.csv | awk -F, 'NR > 1 { for (i = 3; i < 3 + 32; i++) { d = $i - $(i + NF / 2); n[d]++ } }
        END { exit !(n[0] && n[1]) || length(n) != 2 }'
}
check 'eval --codes: a fault is told by its codes' one_too_low
check 'eval --break list' "$mnistq" eval --break list
cp "$TMP/out" list
check 'eval --break list: a line for each' [ "$(sed 1,4d list | wc -l)" -ge 19 ]
names_work() {
    for name in $(sed -n '1,4d; s/^  \([^ ][^ ]*\)  .*/\1/p' list); do
        "$mnistq" eval int8.st --data idx --break "$name" >/dev/null || return 1
    done
}
check 'eval --break: every name of the list works' names_work

# ---- wrong use -------------------------------------------------------------------------------------------------

check_status 2 'eval --break: no such fault' "$mnistq" eval int8.st --data idx --break everything
check_grep '^mnistq: eval: --break: there is no fault "everything"' "$TMP/err" 'eval --break: ... says so'
check_status 2 'eval --break without a model' "$mnistq" eval --break truncation
check_grep '^mnistq: eval: expected MODEL' "$TMP/err" 'eval --break without a model: ... says so'
check_status 2 'eval without a model' "$mnistq" eval
check_status 2 'eval --break --reference' "$mnistq" eval int8.st --data idx --break truncation --reference
check_status 1 'eval --break of fp32' "$mnistq" eval fp32.st --data idx --break truncation
check_grep '^mnistq: fp32.st: --break needs .*integers' "$TMP/err" 'eval --break of fp32: ... says so'
check_status 1 'eval --codes of fp32' "$mnistq" eval fp32.st --data idx --codes c.csv
check_grep '^mnistq: fp32.st: --codes needs .*integers' "$TMP/err" 'eval --codes of fp32: ... says so'
check_status 2 'pitfalls: two models' "$mnistq" pitfalls fp32.st int8.st
check_status 2 'pitfalls: --calibration 0' "$mnistq" pitfalls fp32.st --data idx --calibration 0
check_status 1 'pitfalls: more calibration images than there are' "$mnistq" pitfalls fp32.st --data idx --results r9 --calibration 2001
check_grep '^mnistq: --calibration 2001: ' "$TMP/err" 'pitfalls: ... says so'
check_status 1 'pitfalls: no such model' "$mnistq" pitfalls none.st --data idx --results r9
check_status 1 'pitfalls: no such data' "$mnistq" pitfalls fp32.st --data nowhere --results r9
"$BUILD/tests/make_idx" small 200 50 20 16
check_status 1 'pitfalls: images of another size' "$mnistq" pitfalls fp32.st --data small --results r9
check 'pitfalls: ... writes nothing' [ -z "$(ls r9)" ]

tap_done
