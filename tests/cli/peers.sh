#!/bin/sh
# TAP tests of scripts/peers/compare.py on a small set of built-in digits, with stand-ins for the other engines; with the
# engines themselves, for a moment, where they are installed. From the root of the repository:
#   BUILD=build sh tests/cli/peers.sh
# shellcheck disable=SC2317,SC2016,SC2120 # most functions are only called through check; $ is for the stand-ins

. tests/cli/tap.sh

tap_program
scripts=$PWD/scripts/peers
compare=$scripts/compare.py
command -v python3 >/dev/null || {
    skip 'mnistq beside other engines' 'python3 is not installed'
    tap_done
}
make_digits "$TMP/idx" 2000 500
cd "$TMP" || exit 1
"$mnistq" train --data idx --hidden 24,16 --epochs 3 --out fp32.safetensors >/dev/null || tap_bail 'train does not work'
"$mnistq" quantize fp32.safetensors --data idx --out int8.safetensors >/dev/null || tap_bail 'quantize does not work'
unset OPENBLAS_CORETYPE MNISTQ_BLAS_REPLACED MNISTQ_RESTARTED GOMP_SPINCOUNT
ours() { # NAME SETTING...: our program as a stand-in, started with these settings
    { printf '#!/bin/sh\nexec env' && shift && printf ' %s' "$@" && echo " '$mnistq' \"\$@\""; } >ours && chmod +x ours
}
ours plain MNISTQ_RESTARTED=core

stand_in() { # NAME: the body on standard input; $round is the round, from 1
    { printf '#!/bin/sh\nfor a; do [ "${last:-}" != --round ] || round=$a; last=$a; done\n' && cat; } >"stand-ins/$1"
    chmod +x "stand-ins/$1"
}
mkdir stand-ins
line() { # PEER TASK BATCH THREADS RATE [VARIANT]: what a stand-in prints
    printf '{"peer": "%s", "variant": "%s", "task": "%s", "batch": %s, "threads": %s, "images_per_second": %s, ' "$1" "${6:-}" "$2" "$3" "$4" "$5"
    printf '"p50_us": 7, "p99_us": 9, "correct": 450, "n": 500}\n'
}
good_torch() { stand_in torch_peer.py <<END; }
case \$round in 1) rate=100 seconds=4 ;; 2) rate=900 seconds=2 ;; *) rate=300 seconds=1 ;; esac
printf '{"peer": "PyTorch 9", "variant": "%s", "task": "fp32", "batch": 10, "threads": 1, "images_per_second": %s, "p50_us": 12.5, "p99_us": 50, "correct": 450, "n": 500}\n' "\${OPENBLAS_CORETYPE:-as it is}" \$rate
printf '{"peer": "PyTorch 9", "task": "epoch", "batch": 32, "threads": 1, "seconds": %s, "correct": 400, "n": 500}\n' \$seconds
END
good_onnx() { stand_in onnx_peer.mjs <<END; }
echo 'this goes to stderr' >&2
cat <<'LINES'
$(line 'ORT 9' int8 10 1 4000 slow)
$(line 'ORT 9' int8 10 1 8000 fast)
LINES
END
peers() { # [OPTION...]
    python3 "$compare" fp32.safetensors int8.safetensors --mnistq ./ours --data idx --results results --peers stand-ins \
        --batch 1,10 --threads 1 --seconds 0.005 --runs 7 --rounds 1 --no-training "$@"
}
cell() { # TASK BATCH PEER COLUMN of results/peers.csv
    grep -v '^#' results/peers.csv | tr -d '"' | awk -F, -v task="$1" -v batch="$2" -v peer="$3" -v name="$4" '
        NR == 1 { for (i = 1; i <= NF; i++) { if ($i == name) column = i; if ($i == "peer") at = i } }
        NR > 1 && $1 == task && $2 == batch && $at == peer { print $column }'
}
is() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; false; }; }
quotient() { awk -v a="$1" -v b="$2" -v q="$3" 'BEGIN { d = a / b - q; exit !(q > 0 && d <= 0.006 + 0.001 * q && -d <= 0.006 + 0.001 * q) }'; }

# ---- the command line -------------------------------------------------------------------------------------------

good_torch
good_onnx
check 'compare.py --help' python3 "$compare" --help
check_grep '^usage: compare.py ' "$TMP/out" 'compare.py --help: its usage'
check_grep 'scripts/peers\)$' "$TMP/out" 'compare.py --help: the default of --peers'
check_status 2 'no model' python3 "$compare"
check_status 2 'one model' python3 "$compare" fp32.safetensors
check_status 2 'three models' peers third
for bad in '--rounds 0' '--limit 0' '--limit x' '--seconds 0' '--threads 0' '--batch 1,,2' '--nonsense' '--data digits'; do
    # shellcheck disable=SC2086 # an option and its value
    check_status 2 "compare.py $bad" peers $bad
    check_grep '^compare.py: error: ' "$TMP/err" "compare.py $bad: says why"
done
check_status 1 'models the wrong way round' python3 "$compare" int8.safetensors fp32.safetensors --mnistq ./ours --data idx --peers stand-ins
check_grep '^compare.py: int8.safetensors: not an fp32 model' "$TMP/err" '... says which'
check_status 1 'a batch larger than the test set' peers --batch 501
check_grep '500 test images' "$TMP/err" '... says how many there are'
check_status 1 'no data' peers --data nowhere
check_grep '^mnistq: nowhere' "$TMP/err" '... our program says so'
check_status 1 'our program is not there' peers --mnistq ./nowhere
check_grep '^compare.py: ./nowhere: cannot be started' "$TMP/err" '... says so'
check 'nothing was written' [ ! -e results ]

# ---- medians, ratios, the fastest variant ----------------------------------------------------------------------------

run_three() {
    python3 "$compare" fp32.safetensors int8.safetensors --mnistq ./ours --data idx --results results --peers stand-ins \
        --batch 1,10 --threads 1 --seconds 0.005 --runs 7 --rounds 3
}
check 'three rounds' run_three
cp "$TMP/out" shown
check 'nothing on stderr when it is no terminal' [ ! -s "$TMP/err" ]
check 'Markdown and CSV' [ -s results/peers.md -a -s results/peers.csv ]
check 'the median of 100, 900 and 300' is "$(cell fp32 10 'PyTorch 9' peer_images_per_second)" 300
check 'times are as told' is "$(cell fp32 10 'PyTorch 9' peer_p50_us) $(cell fp32 10 'PyTorch 9' peer_p99_us)" '12.50 50.00'
check 'accuracy is correct of n' is "$(cell fp32 10 'PyTorch 9' peer_accuracy_percent)" 90.00
ours=$(cell fp32 10 'PyTorch 9' ours_images_per_second)
check 'the ratio is ours over the peer' quotient "$ours" 300 "$(cell fp32 10 'PyTorch 9' ours_over_peer)"
check '... and has a range' sh -c "[ '$(cell fp32 10 'PyTorch 9' lowest_over_rounds)' != '$(cell fp32 10 'PyTorch 9' highest_over_rounds)' ]"
check 'the faster of two ways' is "$(cell int8 10 'ORT 9' peer_images_per_second) $(cell int8 10 'ORT 9' remark)" '8000 fast: fastest of 2 ways'
check 'an epoch: images over the median of its seconds' is "$(cell epoch 32 'PyTorch 9' peer_images_per_second)" 1000
check 'what no peer measured has a row of ours alone' [ "$(cell int8 1 '' ours_images_per_second)" -gt 0 ]
eval_accuracy() { "$mnistq" eval int8.safetensors --data idx --json | sed -n 's/.*"accuracy_percent":[^0-9]*\([0-9.]*\).*/\1/p'; }
check 'our accuracy is that of eval' is "$(cell int8 1 '' ours_accuracy_percent)" "$(eval_accuracy)"
check 'a row for each case and no more' is "$(grep -vc '^#' results/peers.csv)" 6
check_grep 'Target (met|MISSED): training epoch, .* times PyTorch .*wanted at least 2.50' results/peers.md 'the target of training'
check_grep 'Target (met|MISSED): int8, batch 1, 1 thread: [0-9.]+ us, wanted at most 1.50' results/peers.md 'the target of one image'
check_grep 'Target not measured: int8, batch 1000, 1 thread against ONNX Runtime' results/peers.md 'a target that was not measured'
check_grep 'Peak of this machine in this run on 1 thread' results/peers.md 'the peak'
check_grep '^# command: scripts/peers/compare.py fp32.safetensors int8.safetensors .*--rounds 3$' results/peers.csv 'the command'
columns() { [ "$(awk 'length > 80' shown)" = '' ] && grep -q '^fp32 .*PyTorch 9' shown; }
check 'the terminal gets a table of 80 columns' columns
check 'compare.py --json' peers --json
check_grep '"ours_over_peer"' "$TMP/out" '... prints JSON'

ours better MNISTQ_RESTARTED=core MNISTQ_BLAS_REPLACED=Old OPENBLAS_CORETYPE=Prescott
check 'OpenBLAS with better kernels: both are run' run_three
ours plain MNISTQ_RESTARTED=core
check '... and the table says so' sh -c "grep '^fp32,10,1' results/peers.csv | grep -E '(as it is|Prescott): fastest of 2 ways'"

# ---- peers that are not there, or do not work --------------------------------------------------------------------------

told() { # PEER REMARK: what the row without numbers says
    case $(cell all '' "$1" remark) in
    *"$2"*) true ;;
    *) echo "remark of $1: \"$(cell all '' "$1" remark)\"" && false ;;
    esac
}
broken() { # NAME REMARK [OPTION...]: the torch stand-in is on standard input; the rest of the table stands
    broken_name=$1 broken_remark=$2
    shift 2
    stand_in torch_peer.py
    rm -rf results
    check "$broken_name: the run goes on" peers "$@"
    check "... the table says: $broken_remark" told PyTorch "$broken_remark"
    check '... the other peer is there' is "$(cell int8 10 'ORT 9' peer_images_per_second)" 8000
}
good_line=$(line 'PyTorch 9' fp32 10 1 500)
cat >ours <<END # says again what our program said when it was asked the same
#!/bin/sh
said=said-\$(echo "\$*" | sed 's/--results [^ ]*//' | cksum | tr ' ' -)
[ -s \$said ] || MNISTQ_RESTARTED=core '$mnistq' "\$@" >\$said || exit
cat \$said
END

broken 'missing, it says' 'missing: python3-torch is not there' <<'END'
echo '{"missing": "python3-torch is not there: make peers-install"}'
END
broken 'crashes' 'failed: round 1: exit status 3: ModuleNotFoundError: nothing' <<END
echo '$good_line'
printf 'Traceback\nModuleNotFoundError: nothing\n\n' >&2
exit 3
END
check '... what it had measured does not count' is "$(cell fp32 10 'PyTorch 9' peer)" ''
broken 'is killed' 'failed: round 1: killed by signal 9' <<'END'
kill -9 $$
END
broken 'prints text' 'failed: round 1: printed what is no measurement that was asked for: Hello' <<'END'
echo 'Hello'
END
broken 'has not the batch that was asked for' 'no measurement that was asked for' <<END
$(line 'PyTorch 9' fp32 11 1 500 | sed "s/.*/echo '&'/")
END
for change in 's/450/501/' 's/450/-1/' 's/"n": 500/"n": 499/' 's/"images_per_second": 500/"images_per_second": 0/' \
    's/: 500,/: 1e999,/' 's/: 500,/: "500",/' 's/fp32/fp16/' 's/PyTorch 9//' 's/}$/} more/' 's/^/[/' 's/.*/null/' 's/.*//'; do
    broken "a line after $change" 'no measurement that was asked for' <<END
$(printf '%s\n' "$good_line" | sed -e "$change" -e "s/.*/echo '&'/")
END
done
broken 'ends in the middle of a line' 'failed: round 1: printed a line that does not end' <<END
printf '%s' '$good_line'
END
broken 'prints a line without end' 'too long' <<'END'
yes no | tr -d '\n'
END
broken 'prints nothing' 'failed: round 1: measured nothing' <<'END'
:
END
started=$(date +%s)
broken 'hangs' 'failed: round 1: stopped after the limit of 1 s' --limit 1 <<'END'
echo $$ >pid
sleep 600 &
echo $! >pid-of-child
wait
END
check '... for no longer than its limit' [ $(($(date +%s) - started)) -le 30 ]
gone() { # FILE: the process is no longer there, or is a zombie that nobody has waited for
    gone_pid=$(cat "$1") && [ -n "$gone_pid" ] || return
    for gone_try in 1 2 3 4 5; do
        kill -0 "$gone_pid" 2>/dev/null || return 0
        case $(ps -o stat= -p "$gone_pid" 2>/dev/null) in Z*) return 0 ;; esac
        sleep 1
    done
    echo "$gone_pid is still there after try $gone_try"
    false
}
check '... it is killed' gone pid
check '... and what it started' gone pid-of-child
broken 'closes its output and hangs' 'stopped after the limit of 1 s' --limit 1 <<'END'
exec >/dev/null
sleep 600
END
broken 'fails in round 2' 'failed: round 2: exit status 1' --rounds 3 <<END
[ \$round = 1 ] || exit 1
echo '$good_line'
END
check '... what round 1 measured stands' is "$(cell fp32 10 'PyTorch 9' peer_images_per_second)" 500
broken 'control characters' 'no measurement that was asked for: ?[31m' <<'END'
printf '\033[31m\n'
END

stand_in torch_peer.py <<END
echo '$good_line'
END
printf '#!/nowhere/python\n' >stand-ins/onnx_peer.mjs
check 'a peer whose interpreter is missing' peers
check '... is missing' told 'ONNX Runtime' 'missing: round 1: cannot be started'
rm stand-ins/*
sums() { cat results/peers.md results/peers.csv | cksum; }
before=$(sums)
check_status 1 'no peers at all' peers
check_grep '^compare.py: PyTorch: missing: ' "$TMP/err" '... PyTorch: said in one line'
check_grep '^compare.py: ONNX Runtime: missing: ' "$TMP/err" '... ONNX Runtime: said in one line'
check_grep 'make peers-install' "$TMP/err" '... and how to get them'
cp "$TMP/err" said
check '... no more than that' [ "$(wc -l <said)" -eq 3 ]
check '... changes no file' is "$(sums)" "$before"

# ---- the scripts themselves ------------------------------------------------------------------------------------------

check 'the scripts can be started' [ -x "$scripts/torch_peer.py" -a -x "$scripts/onnx_peer.mjs" -a -x "$scripts/make_onnx.py" ]
real() { # [OPTION...]: once, as short as can be
    peers --peers "$scripts" --batch 1,100 --limit 120 "$@"
}
engine() { # NAME: the peer of that name and any version
    grep -v '^#' results/peers.csv | tr ',' '\n' | tr -d '"' | grep "^$1 [0-9]" | sed -n 1p
}
same_answers() { [ -n "$1" ] && is "$(cell int8 100 "$1" peer_accuracy_percent)" "$(cell int8 100 "$1" ours_accuracy_percent)"; }
near() { # ENGINE TASK: within 2 of 500 images
    awk -v a="$(cell "$2" 100 "$1" peer_accuracy_percent)" -v b="$(cell "$2" 100 "$1" ours_accuracy_percent)" \
        'BEGIN { exit !(a > 0 && a - b <= 0.41 && b - a <= 0.41) }'
}
ours plain MNISTQ_RESTARTED=core
rm -rf results
real >"$TMP/real.out" 2>"$TMP/real.err"
real_status=$?
check 'the real peers, there or not' [ $real_status -eq 0 -o "$(grep -c missing: "$TMP/real.err")" -eq 2 ]
[ -e results/peers.csv ] || { mkdir -p results && : >results/peers.csv; }
onnx=$(engine 'ONNX Runtime') torch=$(engine PyTorch)
if [ -n "$onnx" ]; then
    check 'ONNX Runtime: int8 answers as ours, all of them' same_answers "$onnx"
    check 'ONNX Runtime: fp32 too' near "$onnx" fp32
else
    skip 'ONNX Runtime answers as ours' "$(grep 'ONNX Runtime' "$TMP/real.err")"
fi
if [ -n "$torch" ]; then
    check 'PyTorch: fp32 answers as ours' near "$torch" fp32
    check 'PyTorch: int8 nearly' near "$torch" int8
else
    skip 'PyTorch answers as ours' "$(grep PyTorch "$TMP/real.err")"
fi

tap_done
