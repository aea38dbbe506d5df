#!/bin/sh
# TAP tests of the Makefile and scripts/run_with_data.sh, in build folders of their own. From the root of the
# repository:
#   sh tests/cli/make.sh
# shellcheck disable=SC2317 # most functions are only called through check

. tests/cli/tap.sh

# What the make around this test was told is not for the makes in it.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES MNIST_MIRROR MNIST_SHA256SUMS
unset BUILD CC CFLAGS DATA RESULTS GROUP IMAGE LADDER_SEEDS SCHEME HIDDEN SEED EPOCHS BATCH OBSERVER ACTIVATIONS CALIBRATION SEEDS TEST
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# ---- help -------------------------------------------------------------------------------------------------------

check 'make help' make help
cp "$TMP/out" "$TMP/help"
for target in all mnist sweep data test asan clean; do check_grep "^ +make $target +.+" "$TMP/help" "make help lists $target"; done
for variable in SCHEME HIDDEN SEED EPOCHS BATCH OBSERVER ACTIVATIONS CALIBRATION SEEDS; do
    check_grep "$variable=" "$TMP/help" "make help names $variable"
done
check 'make help builds nothing' make BUILD="$TMP/help-build" help
check '... not even its folder' [ ! -e "$TMP/help-build" ]

# ---- building: without a warning, and once -----------------------------------------------------------------------

tests=
for source in tests/test_*.c tests/make_idx.c tests/http_server.c; do
    [ -e "$source" ] && tests="$tests tests/$(basename "$source" .c)"
done
build() { # FOLDER CC CFLAGS: the program, the library and every test
    # shellcheck disable=SC2046,SC2086,SC2059 # several targets
    make -j"$jobs" BUILD="$1" CC="$2" CFLAGS="$3" all $(printf "$1/%s " $tests)
}
for cc in gcc clang; do
    if command -v $cc >/dev/null; then
        flags=-O1
        [ $cc = clang ] || flags='-O3 -g' # the Makefile's own: gcc finds other things to warn of in each
        check "$cc: builds" build "$TMP/$cc" $cc "$flags"
        cat "$TMP/out" "$TMP/err" >"$TMP/log"
        check_grep '^  cc src/main.c$' "$TMP/log" "$cc: the output shows what is compiled"
        grep -A 3 'warning:' "$TMP/log" >"$TMP/warnings"
        check_no_grep . "$TMP/warnings" "$cc: no warning"
        built=$TMP/$cc
    else
        skip "$cc: builds without a warning" "there is no $cc"
    fi
done
[ -n "${built:-}" ] || built=$TMP/cc
check 'make: builds' make -j"$jobs" BUILD="$built" CFLAGS=-O1
check 'make: the program runs' "$built/mnistq" --help
check 'make: the library is there' [ -s "$built/libmnistq.a" ]
check 'make: again' make BUILD="$built" CFLAGS=-O1
check_no_grep '^  (cc|ld) ' "$TMP/out" 'make: again builds nothing'
check 'make -q: nothing is to be done' make -q BUILD="$built" CFLAGS=-O1

# ---- variables -----------------------------------------------------------------------------------------------------

check 'make -n mnist with variables' make -n BUILD="$built" mnist \
    SCHEME=per-tensor HIDDEN=128 SEED=3 EPOCHS=1 OBSERVER=histogram BATCH=32 ACTIVATIONS=symmetric CALIBRATION=100
grep exercise "$TMP/out" >"$TMP/line"
for option in '--scheme per-tensor' '--hidden 128' '--seed 3' '--epochs 1' '--observer histogram' '--batch 32' \
    '--activations symmetric' '--calibration 100'; do
    check_grep "exercise .*$option( |\$)" "$TMP/line" "make mnist passes $option"
done
check 'make -n mnist' make -n BUILD="$built" mnist
check_no_grep 'exercise .*--' "$TMP/out" 'make mnist leaves the defaults to the program'
check 'make -n sweep SEEDS=4' make -n BUILD="$built" sweep SEEDS=4 HIDDEN=64,32
check_grep 'sweep --seeds 4 --hidden 64,32$' "$TMP/out" 'make sweep passes --seeds and --hidden'

# ---- make mnist, with a program that only prints how it was called --------------------------------------------------

mkdir "$TMP/good" "$TMP/bad"
for name in t10k-images-idx3 t10k-labels-idx1 train-images-idx3 train-labels-idx1; do
    echo "$name" | gzip -c >"$TMP/good/$name-ubyte.gz"
    echo bad >"$TMP/bad/$name-ubyte.gz"
done
(cd "$TMP/good" && { sha256sum -- *.gz 2>/dev/null || shasum -a 256 -- *.gz; }) >"$TMP/sums"

sleep 1 # newer than all it depends on, by the clock of any file system
cat >"$built/mnistq" <<'END_OF_PROGRAM'
#!/bin/sh
echo "called: $*"
exit ${STAND_IN_STATUS:-0}
END_OF_PROGRAM
make_mnist() { # MIRROR DATA [VARIABLE=VALUE...]
    mirror=$1 folder=$2
    shift 2
    MNIST_MIRROR=$mirror MNIST_SHA256SUMS=$TMP/sums make -s BUILD="$built" CFLAGS=-O1 mnist DATA="$folder" "$@"
}
nowhere=http://127.0.0.1:9/

check_status 2 'make mnist with a folder that is not there' make_mnist "file://$TMP/good" "$TMP/data"
check_grep 'data: no such folder' "$TMP/err" '... says so'
check '... and does not make it' [ ! -e "$TMP/data" ]
mkdir "$TMP/data" "$TMP/none" "$TMP/wrong" "$TMP/a b"
check 'make mnist fetches' make_mnist "file://$TMP/good" "$TMP/data" HIDDEN=128
cp "$TMP/out" "$TMP/first"
check_grep "^called: exercise --hidden 128 --data $TMP/data --results results/mnist\$" "$TMP/first" '... and runs the exercise'
check_grep ': fetching from ' "$TMP/first" '... having fetched'
check 'make mnist again' make_mnist "file://$TMP/good" "$TMP/data"
cp "$TMP/out" "$TMP/second"
check_grep "^called: exercise --data $TMP/data --results results/mnist\$" "$TMP/second" '... runs the exercise'
check_no_grep 'fetching|^  (cc|ld) ' "$TMP/second" '... fetches and builds nothing'
check 'make mnist with the data there needs no mirror' make_mnist $nowhere "$TMP/data"
check_grep "^called: exercise --data $TMP/data --results results/mnist\$" "$TMP/out" '... and runs on MNIST'

check 'make mnist without a mirror' make_mnist $nowhere "$TMP/none"
cp "$TMP/out" "$TMP/out-none" && cp "$TMP/err" "$TMP/err-none"
check_grep '^called: exercise --data digits --results results/digits$' "$TMP/out-none" '... runs on the built-in digits, to results/digits'
check_no_grep 'results/mnist' "$TMP/out-none" '... and never to results/mnist'
check_grep 'CANNOT BE FETCHED' "$TMP/err-none" '... and says so loudly'
check_grep 'built-in digits' "$TMP/err-none" '... and what it does instead'

check_status 2 'make mnist with wrong bytes fails' make_mnist "file://$TMP/bad" "$TMP/wrong"
cp "$TMP/out" "$TMP/out-wrong" && cp "$TMP/err" "$TMP/err-wrong"
check_no_grep '^called' "$TMP/out-wrong" '... and runs nothing'
check_grep 'does not match its checksum' "$TMP/err-wrong" '... and says why'
check_status 1 'run_with_data.sh with wrong bytes' env MNIST_MIRROR="file://$TMP/bad" MNIST_SHA256SUMS="$TMP/sums" \
    sh scripts/run_with_data.sh "$TMP/wrong" "$built/mnistq" exercise
check_no_grep '^called' "$TMP/out" '... runs nothing'
check_status 7 'run_with_data.sh: the exit status is that of the program' env MNIST_MIRROR="file://$TMP/good" \
    MNIST_SHA256SUMS="$TMP/sums" STAND_IN_STATUS=7 sh scripts/run_with_data.sh "$TMP/data" "$built/mnistq" exercise
check 'run_with_data.sh from another folder, into a folder with a space' sh -c "cd '$TMP' &&
    MNIST_MIRROR='file://$TMP/good' MNIST_SHA256SUMS='$TMP/sums' sh '$PWD/scripts/run_with_data.sh' 'a b' '$built/mnistq' exercise"
check_grep '^called: exercise --data a b --results results/mnist$' "$TMP/out" '... works'

# Somebody's own data set under the same names: never fetched over, never shown as MNIST's
mkdir "$TMP/fashion"
for name in t10k-images-idx3 t10k-labels-idx1 train-images-idx3; do echo mine >"$TMP/fashion/$name-ubyte.gz"; done
echo mine >"$TMP/fashion/train-labels-idx1-ubyte" # plain
check 'make mnist with another data set' make_mnist "file://$TMP/good" "$TMP/fashion"
cp "$TMP/out" "$TMP/out-fashion"
check_grep "^called: exercise --data $TMP/fashion --results results/fashion\$" "$TMP/out-fashion" '... runs on it, to results/fashion'
check_no_grep 'fetching' "$TMP/out-fashion" '... and fetches nothing'
check_grep 'not MNIST' "$TMP/out-fashion" '... and says so'
check '... whose files stay as they were' [ "$(cat "$TMP"/fashion/*)" = "$(printf 'mine\nmine\nmine\nmine')" ]

names_once() { # clang's resolvers of such functions are global symbols, static or not
    grep -rhA1 '^VECTORISED' src | grep -o '[a-z_0-9]*(' | sort >"$TMP/names"
    [ -s "$TMP/names" ] && [ -z "$(uniq -d "$TMP/names")" ]
}
check 'functions made for several CPUs: no name twice, so that clang links' names_once

check 'make mnist RESULTS=' make_mnist "file://$TMP/good" "$TMP/data" RESULTS=results/small
check_grep "^called: exercise --data $TMP/data --results results/small\$" "$TMP/out" '... goes there'
check 'make mnist with another data set and RESULTS=results/mnist' make_mnist "file://$TMP/good" "$TMP/fashion" RESULTS=results/mnist
check_grep "^called: exercise --data $TMP/fashion --results results/fashion\$" "$TMP/out" '... goes to results/fashion all the same'
check 'make mnist with another data set and RESULTS' make_mnist "file://$TMP/good" "$TMP/fashion" RESULTS=results/small
check_grep "^called: exercise --data $TMP/fashion --results results/small\$" "$TMP/out" '... goes where it is told'
check 'make mnist DATA with a space' make_mnist "file://$TMP/good" "$TMP/a b"
check_grep "^called: exercise --data $TMP/a b --results results/mnist\$" "$TMP/out" '... works'

check 'make clean' make BUILD="$built" clean
check '... removes the folder' [ ! -e "$built" ]

tap_done
