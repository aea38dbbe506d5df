#!/bin/sh
# TAP tests of the Makefile and scripts/run_with_data.sh, in build folders of their own. From the root of the
# repository:
#   sh tests/cli/make.sh
# shellcheck disable=SC2317 # most functions are only called through check

. tests/cli/tap.sh

built_by_all=${BUILD:-build}
# What the make around this test was told is not for the makes in it.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES MNIST_MIRROR MNIST_SHA256SUMS
unset BUILD CC CFLAGS CPPFLAGS LDFLAGS DATA RESULTS GROUP IMAGE LADDER_SEEDS SCHEME HIDDEN SEED EPOCHS BATCH OBSERVER \
    ACTIVATIONS CALIBRATION SEEDS TEST MUTANT V
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# ---- help, and names that are not there ---------------------------------------------------------------------------

check 'make help' make help
cp "$TMP/out" "$TMP/help"
for target in all mnist sweep data test asan clean; do check_grep "^ +$target +.+" "$TMP/help" "make help lists $target"; done
for variable in SCHEME HIDDEN SEED EPOCHS BATCH OBSERVER ACTIVATIONS CALIBRATION SEEDS; do
    check_grep "$variable=" "$TMP/help" "make help names $variable"
done
check_no_grep '.{81}' "$TMP/help" 'make help fits 80 columns'
check 'make help builds nothing' make BUILD="$TMP/help-build" help
check '... not even its folder' [ ! -e "$TMP/help-build" ]

mistyped() { # ARGUMENT PATTERN
    check_status 2 "make $1 is refused" make BUILD="$TMP/help-build" "$1" mnist
    check_grep "$2" "$TMP/err" '... with what it may have meant'
    check '... and runs nothing' [ ! -s "$TMP/out" ]
}
mistyped HIDEN=128 'HIDEN: there is no such variable; did you mean HIDDEN[?]'
mistyped hidden=128 'did you mean HIDDEN[?]'
mistyped SHCEME=both 'did you mean SCHEME[?]'
mistyped COLOUR=red 'COLOUR: there is no such variable, there are: .*HIDDEN.*'
mistyped mnits 'mnits: there is no such target; did you mean mnist[?]'

# ---- building: without a warning, and once -----------------------------------------------------------------------

# The compiler of $BUILD has said all it has to say into a file beside each object.
silent() { # FOLDER: as many objects as files of warnings, which are empty; those of the page are another compiler's
    find "$1/obj" -name '*.o.log' -size +0 -exec cat {} + >"$TMP/warnings"
    objects=$(find "$1/obj" -name '*.o' ! -path '*/obj/wasm/*' | wc -l)
    [ ! -s "$TMP/warnings" ] && [ "$(find "$1/obj" -name '*.o.log' | wc -l)" -eq "$objects" ] && [ "$objects" -gt 100 ]
}
case $(cat "$built_by_all/flags") in
*-fsanitize* | *--coverage*) skip 'the build of all: no warning' 'a sanitizer or coverage makes the compiler see ghosts' ;;
*) check 'the build of all: no warning' silent "$built_by_all" ;;
esac
tests=
for source in tests/test_*.c tests/make_idx.c tests/http_server.c; do
    [ -e "$source" ] && tests="$tests obj/tests/$(basename "$source" .c).o"
done
if command -v clang >/dev/null; then cc=clang; else cc=cc; fi
built=$TMP/$cc
mk() { make BUILD="$built" CC=$cc CFLAGS=-O1 "$@"; }
build() { # the program, the library, and every test that far
    # shellcheck disable=SC2046,SC2086,SC2059 # several targets
    mk -j"$jobs" all $(printf "$built/%s " $tests)
}
check "$cc: builds" build
cat "$TMP/out" "$TMP/err" >"$TMP/log"
check "$cc: a quiet build, 3 lines at most" [ "$(wc -l <"$TMP/log")" -le 3 ]
check "$cc: no warning" silent "$built"
check 'make: the program runs' "$built/mnistq" --help
check 'make: the library is there' [ -s "$built/libmnistq.a" ]
check 'make: again' mk
check_grep 'Nothing to be done' "$TMP/out" 'make: again builds nothing'
check 'make -q: nothing is to be done' mk -q

# Other flags build anew, each of them; the same ones do not.
one=$TMP/flags/obj/src/base/text.o
flagged() { make BUILD="$TMP/flags" CFLAGS=-O1 "$@"; }
check 'make: one object' flagged "$one"
for flags in CFLAGS=-O0 CPPFLAGS=-DWORD=1 LDFLAGS=-Wl,--as-needed "CPPFLAGS=-DTEXT='\"a b\"'"; do
    check_status 1 "make -q with $flags: all is to be done" flagged -q "$flags" "$one"
    check "make V=1 with $flags" flagged V=1 "$flags" "$one"
    word=${flags#*=}
    case $flags in LDFLAGS=*) word=-O1 ;; esac
    check_grep " $word .*-c src/base/text.c" "$TMP/out" '... compiles with it'
    check "make -q with $flags: done" flagged -q "$flags" "$one"
done
check_status 1 'make -q with the first flags: to be done again' flagged -q "$one"
check 'make -n LDFLAGS: links with them' flagged -n LDFLAGS=-Wl,--as-needed # -n, but the file of flags is made
check_grep "^cc .*-Wl,--as-needed .*-o .*/mnistq\$" "$TMP/out" '... all right'
check 'a warning is told' flagged CPPFLAGS=-Wdeclaration-after-statement "$one"
check_grep 'warning: ' "$TMP/err" '... as the compiler tells it'
check '... and kept' grep -q 'warning: ' "$one.log"
check_status 2 'what does not compile' flagged CPPFLAGS=-Dlikelier=0 "$one"
check_grep 'error: ' "$TMP/err" '... ends the build, and says why'
# -Ofast lets a compiler take every number for finite: not here, in no arithmetic, and not in what looks for NaNs.
check 'make V=1 CFLAGS=-Ofast' flagged V=1 CFLAGS=-Ofast "$one"
check_grep ' -Ofast -fno-fast-math .*-c src/base/text.c' "$TMP/out" '... is -O3 for all that numbers notice'
grep -rnE '[^_](isfinite|isnan|isinf)[(]' src >"$TMP/found"
check '... and all of src looks for them by base/finite.h' [ ! -s "$TMP/found" ]
cat >"$TMP/finite.c" <<'END_OF_SOURCE'
#include "base/finite.h"
#include <float.h>
#include <stdlib.h>
int main(int argc, char **argv) { /* inf nan -nan, then numbers, as texts: no compiler knows them */
    int wrong = argc < 8;
    for (int i = 1; i < argc; i++) {
        double x = strtod(argv[i], NULL);
        float f = (float)x;
        wrong += is_finite(x) != (i > 4) || is_finite((double)f) != (i > 4) || is_nan(x) != (i == 3 || i == 4);
    }
    return wrong;
}
END_OF_SOURCE
ofast() { "$1" -Ofast -Isrc "$TMP/finite.c" -o "$TMP/finite" && "$TMP/finite" inf -inf nan -nan 0 1e-40 -3e38; }
for compiler in gcc clang; do
    command -v $compiler >/dev/null || { skip "$compiler -Ofast" "there is no $compiler" && continue; }
    check "$compiler -Ofast: what looks for NaNs finds them" ofast $compiler
done

# ---- variables -----------------------------------------------------------------------------------------------------

check 'make -n mnist with variables' mk -n mnist \
    SCHEME=per-tensor HIDDEN=128 SEED=3 EPOCHS=1 OBSERVER=histogram BATCH=32 ACTIVATIONS=symmetric CALIBRATION=100
grep exercise "$TMP/out" >"$TMP/line"
for option in '--scheme per-tensor' '--hidden 128' '--seed 3' '--epochs 1' '--observer histogram' '--batch 32' \
    '--activations symmetric' '--calibration 100'; do
    check_grep "exercise .*$option( |\$)" "$TMP/line" "make mnist passes $option"
done
check 'make -n mnist' mk -n mnist
check_no_grep 'exercise .*--' "$TMP/out" 'make mnist leaves the defaults to the program'
check 'make -n models page' mk -n models page
grep 'exercise --reuse' "$TMP/out" >"$TMP/line"
check 'make models and make page show what becomes of the tables' [ "$(grep -c . "$TMP/line")" -eq 2 ]
check_no_grep '>/dev/null' "$TMP/line" '... and hide nothing'
check 'make -n sweep SEEDS=4' mk -n sweep SEEDS=4 HIDDEN=64,32
check_grep 'sweep --seeds 4 --hidden 64,32 *$' "$TMP/out" 'make sweep passes --seeds and --hidden'

# ---- make mnist, with a program that only prints how it was called --------------------------------------------------

mkdir "$TMP/good" "$TMP/bad" "$TMP/tree"
for name in t10k-images-idx3 t10k-labels-idx1 train-images-idx3 train-labels-idx1; do
    echo "$name" >"$TMP/good/$name-ubyte"
    echo bad >"$TMP/bad/$name-ubyte.gz"
done
(cd "$TMP/good" && gzip -k -- * && { sha256sum -- * 2>/dev/null || shasum -a 256 -- *; }) >"$TMP/sums"
rm "$TMP"/good/*-ubyte

sleep 1 # newer than all it depends on, by the clock of any file system
cat >"$built/mnistq" <<'END_OF_PROGRAM'
#!/bin/sh
echo "called: $*"
exit ${STAND_IN_STATUS:-0}
END_OF_PROGRAM
ln -s "$PWD/Makefile" "$PWD/src" "$PWD/scripts" "$PWD/tests" "$TMP/tree" # a tree whose data/mnist is not there yet
for name in include examples *.mk; do [ ! -e "$name" ] || ln -s "$PWD/$name" "$TMP/tree"; done
make_mnist() { # MIRROR [VARIABLE=VALUE...]
    mirror=$1
    shift
    (cd "$TMP/tree" && MNIST_MIRROR=$mirror MNIST_SHA256SUMS=$TMP/sums mk -s mnist "$@")
}
nowhere=http://127.0.0.1:9/

check 'make mnist fetches' make_mnist "file://$TMP/good" HIDDEN=128
check_grep ': fetching from ' "$TMP/err" '... and says so'
check_grep '^called: exercise --hidden 128 --data data/mnist --results results/mnist$' "$TMP/out" '... and runs the exercise'
check 'make mnist again' make_mnist "file://$TMP/good"
check_grep '^called: exercise --data data/mnist --results results/mnist$' "$TMP/out" '... runs the exercise'
check '... without another word' [ "$(cat "$TMP/out" "$TMP/err" | wc -l)" -eq 1 ]
check 'make mnist with the data there needs no mirror' make_mnist $nowhere
check_grep '^called: exercise --data data/mnist --results results/mnist$' "$TMP/out" '... and runs on MNIST'
(cd "$TMP/tree/data/mnist" && gzip -d -- *.gz)
check 'make mnist with the files unpacked needs no mirror' make_mnist $nowhere
check_grep '^called: exercise --data data/mnist --results results/mnist$' "$TMP/out" '... and runs on MNIST'
echo "$TMP"/tree/data/mnist/* >"$TMP/list"
check_no_grep '[.]gz' "$TMP/list" '... leaving them unpacked'
check 'make mnist RESULTS=' make_mnist "file://$TMP/good" RESULTS=results/small
check_grep '^called: exercise --data data/mnist --results results/small$' "$TMP/out" '... goes there'

rm -r "$TMP/tree/data"
check 'make mnist without a mirror' make_mnist $nowhere
cp "$TMP/out" "$TMP/out-none" && cp "$TMP/err" "$TMP/err-none"
check_grep '^called: exercise --data digits --results results/digits$' "$TMP/out-none" '... runs on the built-in digits, to results/digits'
check_no_grep 'results/mnist' "$TMP/out-none" '... and never to results/mnist'
check_grep 'CANNOT BE FETCHED' "$TMP/err-none" '... and says so loudly'
check_grep 'built-in digits' "$TMP/err-none" '... and what it does instead'
check_status 2 'make mnist without a mirror, RESULTS=results/mnist: refused' make_mnist $nowhere RESULTS=results/mnist
check_no_grep '^called' "$TMP/out" '... running nothing'

rm -rf "$TMP/tree/data"
check_status 2 'make mnist with wrong bytes fails' make_mnist "file://$TMP/bad"
cp "$TMP/out" "$TMP/out-wrong" && cp "$TMP/err" "$TMP/err-wrong"
check_no_grep '^called' "$TMP/out-wrong" '... and runs nothing'
check_grep 'does not match its checksum' "$TMP/err-wrong" '... and says why'

# ---- DATA: a folder of one's own is read or refused, and nothing is fetched into it ---------------------------------

untouched() { [ "$(cd "$TMP/tree/$1" && find . -type f -exec cat {} + | cksum; ls -R "$TMP/tree/$1")" = "$before" ]; }
own() { # NAME FOLDER: make mnist DATA=FOLDER, which must leave it as it is
    before=$(cd "$TMP/tree/$2" && find . -type f -exec cat {} + | cksum; ls -R "$TMP/tree/$2")
    check_status "$3" "make mnist with $1" make_mnist "file://$TMP/good" DATA="$2"
    cp "$TMP/out" "$TMP/own.out"
    cp "$TMP/err" "$TMP/own.err"
    check '... leaves the folder as it is' untouched "$2"
}
runs_to() { check_grep "^called: exercise --data $1 --results $2\$" "$TMP/own.out" "... runs on it, to $2"; }
says() { check_grep "$1" "$TMP/own.err" '... and says so'; }
cd "$TMP/tree" || exit 1

check_status 2 'make mnist with a folder that is not there' make_mnist "file://$TMP/good" DATA=none
check_grep 'DATA=none: no such folder' "$TMP/err" '... says so'
check '... and does not make it' [ ! -e none ]

mkdir empty notes fashion mixed unpacked dotted "it's" mnist elsewhere elsewhere/mnist
own 'an empty folder' empty 2
says 'four IDX files expected .*, found: nothing$'
touch notes/a.txt notes/b.csv
own 'a folder of other files' notes 2
says 'four IDX files expected .*, found: a.txt, b.csv$'
for name in t10k-images-idx3 t10k-labels-idx1 train-images-idx3; do echo mine >"fashion/$name-ubyte.gz"; done
echo mine >fashion/train-labels-idx1-ubyte
own 'another data set' fashion 0
runs_to fashion results/fashion
says "not MNIST's own files"
cp "$TMP"/good/*.gz mixed && echo mine >mixed/train-labels-idx1-ubyte.gz
own 'three files of MNIST and labels of its own' mixed 0
runs_to mixed results/mixed
cp "$TMP"/good/*.gz unpacked && gzip -d unpacked/*.gz
own 'MNIST unpacked in a folder of another name' unpacked 0
runs_to unpacked results/mnist
for name in t10k-images.idx3 t10k-labels.idx1 train-images.idx3 train-labels.idx1; do echo mine >"dotted/$name-ubyte"; done
own 'dotted names' dotted 0
runs_to dotted results/dotted
cp fashion/* "it's" && cp fashion/* mnist && cp fashion/* elsewhere/mnist
own 'a quote in its name' "it's" 0
runs_to "it's" "results/it's"
for name in -x --data 'a;b' 'back\z' '=1' "a
b"; do
    mkdir -- "$name" && cp fashion/* "./$name"
    own "a folder called $(printf '%s' "$name" | tr '\n' '?')" "$name" 0
    check '... runs on it' grep -qF "$(printf 'called: exercise --data %s --results results/%s' "$(case $name in -*) printf ./ ;; esac && printf '%s' "$name")" "$name" | head -1)" "$TMP/own.out"
    check '... in one line' [ "$(wc -l <"$TMP/own.err")" -eq 1 ]
done
# shellcheck disable=SC2016 # of make, as it stands
mkdir '$(name)' && cp fashion/* '$(name)'
own 'a folder called as a variable of make' '$(name)' 0
# shellcheck disable=SC2016
check '... runs on it' grep -qF 'called: exercise --data $(name) --results results/$(name)' "$TMP/own.out"
mkdir hostile && touch "hostile/$(printf 'a\033[31m\302\233\342\200\256b')"
own 'a folder with hostile names' hostile 2
says 'found: a.\[31m..b$'
own 'another set under the name of mnist' elsewhere/mnist 0
runs_to elsewhere/mnist results/other
check_status 2 'another data set with RESULTS=results/mnist: refused' make_mnist "file://$TMP/good" DATA=fashion RESULTS=results/mnist
check_grep 'this is not MNIST [(]without RESULTS: results/fashion[)]' "$TMP/err" '... in one line'
check_status 2 'another data set with RESULTS=results/reference/mnist/' make_mnist "file://$TMP/good" DATA=fashion RESULTS=results/reference/mnist/
check_no_grep '^called' "$TMP/out" '... refused as well'
check 'another data set with RESULTS' make_mnist "file://$TMP/good" DATA=fashion RESULTS=results/small
check_grep '^called: exercise --data fashion --results results/small$' "$TMP/out" '... goes where it is told'
check 'make mnist DATA=digits' make_mnist $nowhere DATA=digits
check_grep '^called: exercise --data digits --results results/digits$' "$TMP/out" '... fetches nothing'

check_status 7 'run_with_data.sh: the exit status is that of the program' env STAND_IN_STATUS=7 \
    sh scripts/run_with_data.sh digits "$built/mnistq" exercise
mkdir "a b" && cp fashion/* "a b"
check 'run_with_data.sh from another folder, with a space' sh -c "cd elsewhere && sh ../scripts/run_with_data.sh '../a b' '$built/mnistq' exercise"
check_grep '^called: exercise --data ../a b --results results/a b$' "$TMP/out" '... works'
check 'run_with_data.sh: DATA and RESULTS/NAME' sh scripts/run_with_data.sh digits "$built/mnistq" eval RESULTS/m --data DATA
check_grep '^called: eval results/digits/m --data digits$' "$TMP/out" '... are put in, and nothing else'
check 'run_with_data.sh: INT8' sh scripts/run_with_data.sh digits "$built/mnistq" trace INT8 --data DATA
check_grep '^called: trace results/digits/models/int8-per-tensor.safetensors --data digits$' "$TMP/out" '... is the model that is there'
mkdir -p results/digits/models && : >results/digits/models/int8-per-channel.safetensors
check 'run_with_data.sh: INT8 of two' sh scripts/run_with_data.sh digits "$built/mnistq" trace INT8 --data DATA
check_grep '^called: trace results/digits/models/int8-per-channel.safetensors --data digits$' "$TMP/out" '... is that per channel'
cd - >/dev/null || exit 1

if sh scripts/peers/install.sh --check 2>/dev/null; then
    skip 'make bench-peers without peers' 'they are there'
else
    check_status 2 'make bench-peers without peers' sh -c "cd '$TMP/tree' && make -s BUILD='$built' CFLAGS=-O1 DATA=digits bench-peers"
    cp "$TMP/err" "$TMP/err-peers"
    check_no_grep called "$TMP/out" '... runs nothing'
    check_grep 'make peers-install' "$TMP/err-peers" '... and says what to do'
fi

names_once() { # clang's resolvers of such functions are global symbols, static or not
    grep -rhA1 '^VECTORISED' src | grep -o '[a-z_0-9]*(' | sort >"$TMP/names"
    [ -s "$TMP/names" ] && [ -z "$(uniq -d "$TMP/names")" ]
}
check 'functions made for several CPUs: no name twice, so that clang links' names_once

check 'make clean' mk clean
check '... removes the folder' [ ! -e "$built" ]

tap_done
