#!/bin/sh
# TAP tests of `mnistq bench`: inference, training, scaling and its picture, as short as can be; and speeds beside a
# busy loop. From the root of the repository:
#   BUILD=build sh tests/cli/bench.sh
# shellcheck disable=SC2317 # functions are only called through check

. tests/cli/tap.sh

tap_program
make_digits "$TMP/idx" 2000 500
cd "$TMP" || exit 1
"$mnistq" train --data idx --hidden 24,16 --out fp32.safetensors >/dev/null || tap_bail 'train does not work'
"$mnistq" quantize fp32.safetensors --data idx --out int8.safetensors >/dev/null || tap_bail 'quantize does not work'

bench() { "$mnistq" bench fp32.safetensors int8.safetensors --data idx --results r --runs 7 "$@"; }
plain() { grep -v '^#' "$1" | sed 's/"training epoch, batch 32, Adam"/-/'; } # FILE: no comma in any cell
rows() { plain "$1" | sed 1d; }                                             # FILE
cell() { # FILE ROW COLUMN
    plain "$1" | awk -F, -v row="$2" -v name="$3" '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) column = i }
        NR == row + 1 { print $column }'
}
near() { awk -v a="$1" -v b="$2" -v t="$3" 'BEGIN { d = a - b; print a, "and", b; exit !(a != "" && b != "" && d <= t * b && -d <= t * b) }'; }

# ---- inference and training -------------------------------------------------------------------------------------

check 'bench' bench --batch 1,600 --threads 1,2 --epochs 2
cp "$TMP/out" shown
check '... within 80 columns' [ -z "$(awk 'length > 84' shown)" ] # bytes: a "±" takes two
check '... the rows of one thread' [ "$(grep -c '^  [a-z].*  [0-9]' shown)" -eq 5 ]
check_grep '^  On 1 thread[.] The rows of other' shown '... and says where the others are'
check 'a row for each model, batch and number of threads, and for training' [ "$(rows r/bench.csv | cut -d, -f1,4,5 | tr '\n' ' ')" = \
    'fp32,1,1 fp32,1,2 fp32,600,1 fp32,600,2 int8,1,1 int8,1,2 int8,600,1 int8,600,2 training epoch,32,1 training epoch,32,2 ' ]
all_positive() { rows r/bench.csv | awk -F, '!($7 > 0 && $9 > 0 && $11 > 0 && $12 > 0) { print; bad = 1 } END { exit bad + 0 }'; }
check 'every speed is there' all_positive
check 'runs: of a batch of 1 a hundred times as many' [ "$(cell r/bench.csv 1 runs),$(cell r/bench.csv 3 runs),$(cell r/bench.csv 9 runs)" = 700,7,2 ]
check 'pixels of 0 are left out of fp32 as well as of int8, and counted apart' \
    awk -v a="$(cell r/bench.csv 3 skipped_percent)" -v b="$(cell r/bench.csv 7 skipped_percent)" 'BEGIN { exit !(a > 10 && b > 10 && a < 90) }'
done_of() { awk -v s="$(cell r/bench.csv "$1" skipped_percent)" -v o="$2" 'BEGIN { print (1 - s / 100) * o }'; } # ROW OPERATIONS
operations=$(awk 'BEGIN { print 2 * (784 * 24 + 24 * 16 + 16 * 10) }')
check 'gops: the operations of an image that are not left out, times images a second' near "$(cell r/bench.csv 3 gops)" \
    "$(awk -v o="$(done_of 3 "$operations")" -v s="$(cell r/bench.csv 3 images_per_second)" 'BEGIN { print o * s / 1e9 }')" 0.05
training=$(awk 'BEGIN { print 4 * 784 * 24 + 6 * (24 * 16 + 16 * 10) }')
check 'gops of training: with both gradients, but for the first layer' near "$(cell r/bench.csv 9 gops)" \
    "$(awk -v o="$training" -v s="$(cell r/bench.csv 9 images_per_second)" 'BEGIN { print o * s / 1e9 }')" 0.05
eval_accuracy() { "$mnistq" eval int8.safetensors --data idx --json | sed -n 's/.*"accuracy_percent":[^0-9]*\([0-9.]*\).*/\1/p'; }
check 'accuracy is that of eval' [ "$(cell r/bench.csv 5 accuracy_percent)" = "$(eval_accuracy)" ]
bench --batch 8 --threads 1 --epochs 1 --seed 1 >/dev/null
check 'a trained epoch is the network that train makes' [ "$(cell r/bench.csv 3 accuracy_percent)" = "$(cell r/bench.csv 1 accuracy_percent)" ]
check '--no-training' bench --batch 8 --threads 1 --no-training
check '... leaves it out' [ "$(rows r/bench.csv | wc -l)" -eq 2 ]
bench --batch 8 --threads 1 --no-training --json >json
check '--json' grep -q '"name":[^"]*"int8"' json
for bad in '--runs 6' '--epochs 0' '--threads 0' '--widths 0' '--batch 1,,2'; do
    # shellcheck disable=SC2086 # an option and its value
    check_status 2 "bench $bad" bench $bad
    check_grep "${bad%% *}" "$TMP/err" '... says why'
done
check_status 1 'a model that is not there' "$mnistq" bench nowhere --data idx --results none
check '... writes nothing' [ ! -e none/bench.csv ]

# ---- scaling ----------------------------------------------------------------------------------------------------

check 'bench --scaling' bench --batch 8 --threads 1 --no-training --scaling --widths 16,64
check '... a row for each hidden size and batch' [ "$(rows r/scaling.csv | cut -d, -f1,2 | tr '\n' ' ')" = \
    '16,1 16,10 16,100 16,1000 16,10000 64,1 64,10 64,100 64,1000 64,10000 ' ]
quotient() { near "$(cell r/scaling.csv "$1" int8_over_fp32)" "$(awk -v a="$(cell r/scaling.csv "$1" int8_images_per_second)" \
    -v b="$(cell r/scaling.csv "$1" fp32_images_per_second)" 'BEGIN { print a / b }')" 0.02; } # ROW
check '... int8_over_fp32 is the quotient' quotient 1
check '... at all batches' quotient 10
kinds='fp32 int4 int8'
[ -z "$(cell r/scaling.csv 1 bf16_gops)" ] || kinds="$kinds bf16" # left blank where it would be decoded to fp32
check '... bf16 where the CPU has it, and nowhere else' [ "$(rows r/scaling.csv | awk -F, '($7 > 0) != ($6 > 0)' | wc -l)" -eq 0 ]
svg=r/scaling.svg
panels=5 count=$(echo "$kinds" | wc -w)
check 'scaling.svg: a line for each kind of number in each of five panels' [ "$(grep -c '<polyline' $svg)" -eq $((panels * count)) ]
check '... each with two points' [ "$(grep -o "points='[^']*'" $svg | tr -cd ',\n' | sort -u)" = ,, ]
check '... each kind once in the legend' [ "$(for kind in $kinds; do grep -c ">$kind<" $svg; done | sort -u)" = 1 ]
check '... a title for the whole, for each panel, and both axes' [ "$(grep -c 'How speed grows\|>batch 10*<\|hidden neurons\|operations a second' $svg)" -ge 12 ]
check '... a colour for each kind' [ "$(grep -o "<g stroke='[^']*'" $svg | sort -u | wc -l)" -eq "$count" ]
inside() { # FILE: no panel reaches out of the picture
    awk -F "'" '/^<svg/ { width = $4; height = $6 } match($0, /translate\([0-9.]*,[0-9.]*/) { split(substr($0, RSTART + 10, RLENGTH - 10), p, ","); if (p[1] > width || p[2] > height) bad = 1 } END { exit bad || !width }' "$1"
}
check '... inside the picture' inside $svg
if command -v python3 >/dev/null; then
    check '... is XML' python3 -c "import xml.dom.minidom; xml.dom.minidom.parse('$svg')"
else
    skip '... is XML' 'python3 is not installed'
fi

# ---- beside a busy loop -------------------------------------------------------------------------------------------

# The ratio of int8 to fp32 of the exercise, both on a core that is free and on the same one that is busy.
ratio() { taskset -c 0 "$mnistq" exercise --data idx --hidden 256,256 --results busy >/dev/null && cell busy/exercise.csv 2 speed; }
if command -v taskset >/dev/null && taskset -c 0 true 2>/dev/null; then
    quiet=$(ratio)
    ( exec taskset -c 0 sh -c 'while :; do :; done' ) &
    loop=$!
    busy=$(ratio)
    kill $loop
    wait $loop 2>/dev/null
    check 'a busy core does not change the ratio of int8 to fp32' near "$busy" "$quiet" 0.3
    check 'the spread is told' [ -n "$(cell busy/exercise.csv 1 spread_percent)" ]
else
    skip 'a busy core does not change the ratio of int8 to fp32' 'there is no taskset'
fi

tap_done
