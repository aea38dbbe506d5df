#!/bin/sh
# TAP tests of `mnistq page` and of the engine in it: BUILD=build sh tests/cli/page.sh
# On 10,000 built-in test digits, or on PAGE_DATA (with PAGE_HIDDEN). The engine runs in node; without the tools that build it, or without node,
# what needs them is skipped. The page in a browser is tests/page/browser.sh's.
# shellcheck disable=SC2317 # functions are only called through check

. tests/cli/tap.sh

tap_program
data=${PAGE_DATA:-$TMP/idx} hidden=${PAGE_HIDDEN:-64,48}
case $data in /*) ;; *) data=$PWD/$data ;; esac
results=$TMP/results
mkdir "$results"
[ -n "${PAGE_DATA-}" ] || make_digits "$TMP/idx" 3000 10000
page() { "$mnistq" page --data "$data" --results "$results" --parts "$BUILD/page" "$@"; }

# ---- what is missing is told ----

check_status 1 'without what make page builds' "$mnistq" page --data "$data" --results "$results" --parts "$TMP/nowhere"
check_grep "^mnistq: .*/nowhere/engine.wasm: .*\`make page\` builds it; scripts/install_deps.sh --page gets" "$TMP/err" \
    'it says which commands help'
check_status 2 'wrong use' "$mnistq" page --images 0

why=
[ -s "$BUILD/page/engine.wasm" ] || why='make test builds no engine.wasm without clang, lld and wasi-libc: scripts/install_deps.sh --page'
node=$(command -v node)
[ -n "$node" ] && [ "$(node -p 'process.versions.node.split(".")[0] >= 18')" = true ] || node=
[ -n "$why" ] || [ -n "$node" ] || why='there is no node, of version 18 or later'
[ -z "$why" ] || {
    skip 'the page and its engine' "$why"
    tap_done
}

# ---- the page ----

"$mnistq" --quiet exercise --data "$data" --hidden "$hidden" --results "$results" || tap_bail 'exercise does not work'
check_status 1 'without a model' page
check_grep "^mnistq: .*/models/int4.safetensors: .*\`make page\` makes all models" "$TMP/err" 'the model is named'
check 'the other models' sh scripts/page_models.sh "$mnistq" "$data" "$results/models"
check 'the page' page --images 10000
check_grep '^Written to .*/results/page.html: [0-9.]+ MB' "$TMP/out" 'its place is told'
check_grep '^open it in a browser: file:///.*/results/page.html$' "$TMP/out" 'and how it is opened'
check_grep "^left out: ladder, audit, pitfalls; .make ladder audit pitfalls page DATA=[^ ]* RESULTS=[^ ]*/results HIDDEN=[0-9,]*. brings" \
    "$TMP/out" 'what is left out, and the command that brings it'
check 'its list of parts' page --json --images 10000
check_grep '"part": "engine|"part": "model/fp32"' "$TMP/out" 'is for --json'
cp "$results/page.html" "$TMP/page.html"
check 'by default, 1,000 images' page
cp "$results/page.html" "$TMP/small.html"
check 'again' page --out "$TMP/again.html"
check 'the same bytes' cmp "$TMP/small.html" "$TMP/again.html"
"$BUILD/tests/make_idx" "$TMP/few" 600 20
check_status 1 'more images than there are' "$mnistq" page --data "$TMP/few" --results "$results" --parts "$BUILD/page"
check_grep '^mnistq: --images 1000: .*/few has 20 test images' "$TMP/err" 'is told'

engine() { node tests/page/engine.js "$@"; }
check 'the engine: every code of every layer of every integer model, on all images' engine bits "$TMP/page.html"
check_grep '^int2_qat: 3 layers, 10000 images, [0-9]+ codes equal' "$TMP/out" 'all 10,000 were compared'
check 'a changed weight is found' engine damage "$TMP/small.html"
check 'classes, those of fp32 too' engine classes "$TMP/page.html"
check 'the embedded files are the files' engine files "$TMP/small.html" "$results/models"
check "converted with the file's scales: the file's codes" engine convert "$TMP/small.html"
check "calibrated on the embedded images: the file's ranges" engine calibrate "$TMP/small.html"
check 'one neuron, and faults' engine trace "$TMP/small.html"
check "hostile models are refused with the program's line" engine hostile "$TMP/small.html" "$TMP" "$mnistq"
check 'a drawing becomes the same 28 x 28 bytes' engine drawing "$TMP/small.html" "$TMP" "$BUILD/tests/make_digit" \
    "$mnistq" "$results/models"
check 'measures' engine measures "$TMP/small.html"
check 'one script, one style, no request' engine frame "$TMP/small.html" 2500000

# ---- tables from anywhere ----

cp "$results/exercise.csv" "$TMP/exercise.csv"
printf 'method,note\n"</script><script>alert(1)</script>","a&b \033[31m"\n# command: <img src=x>\n' >"$results/ladder.csv"
printf '# <b>Title"\n\nA note </details>.\n\nProvenance:\n' >"$results/ladder.md"
check 'with a hostile table' page
check_grep '<td>&lt;/script&gt;&lt;script&gt;alert\(1\)&lt;/script&gt;<td>a&amp;b \?\[31m</tbody>' "$results/page.html" \
    'its cells are text'
check_grep '<li class="fact">command: &lt;img src=x&gt;' "$results/page.html" 'its facts are text'
check_grep 'aria-label="&lt;b&gt;Title&quot;, ladder.csv"' "$results/page.html" 'its title is text'
check 'the page is still one script' engine frame "$results/page.html" 2500000
printf 'a,b\n1\n' >"$results/ladder.csv"
check_status 1 'a table that is none' page
check_grep '^mnistq: .*ladder.csv, line 2' "$TMP/err" 'it is named'
rm "$results/ladder.csv" "$results/ladder.md"
mkdir "$TMP/reference"
cp "$results/exercise.csv" "$TMP/reference"
printf 'format,accuracy_percent\nf32,12.5\n' >"$TMP/reference/ladder.csv"
check 'with a reference whose exercise counted the same' page --reference "$TMP/reference"
check_grep 'data-table="ladder"' "$results/page.html" 'its tables are taken'
sed 's/^fp32,-,fp32,[0-9]*,/fp32,-,fp32,1,/' "$results/exercise.csv" >"$TMP/reference/exercise.csv"
check_no_grep 'class="notice reference"' "$results/page.html" 'without a label, since the network is the same'
check 'with the reference of another network' page --reference "$TMP/reference"
check_grep 'data-table="ladder"' "$results/page.html" 'its tables are taken too'
check_grep 'class="notice reference" data-accuracy="[0-9.]+" data-bytes="[0-9]+" data-cpu="' "$results/page.html" 'with a label'
check_grep '^left out: audit, pitfalls; ' "$TMP/out" 'the others are left out'
sed 's/^# data SHA-256: ./# data SHA-256: x/' "$results/exercise.csv" >"$TMP/reference/exercise.csv"
check 'with the reference of other data' page --reference "$TMP/reference"
check_no_grep 'data-table="ladder"' "$results/page.html" 'they are not'

# ---- a model that belongs to another network ----

"$mnistq" --quiet train --data "$data" --hidden "$hidden" --seed 2 --out "$TMP/other.st"
"$mnistq" --quiet quantize "$TMP/other.st" --data "$data" --format int4 --out "$results/models/int4.safetensors"
check_status 1 'a model of another network' page
check_grep 'int4.safetensors: was not made from the network of fp32.safetensors' "$TMP/err" 'is refused'

# ---- the kernel: the tests of all kernels, as WebAssembly ----

build_kernels() {
    for source in tests/test_kernels.c src/quant/qlinear.c src/quant/qmlp.c src/base/rng.c src/base/block.c \
        src/base/text.c src/quant/kernels/*.c; do
        "${WASM_CC:-clang}" --target=wasm32-wasi -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wno-unknown-pragmas -O2 -msimd128 -Isrc \
            -DPLAIN_MAIN -c "$source" -o "$TMP/$(basename "$source" .c).o" || return
    done
    "${WASM_CC:-clang}" --target=wasm32-wasi -Wl,-z,stack-size=1048576 "$TMP"/*.o -o "$TMP/kernels.wasm"
}
check 'the integer engine builds for WebAssembly' build_kernels
check 'its kernels equal the reference' node --no-warnings tests/page/wasi.js "$TMP/kernels.wasm"
check_grep '^kernel wasm-simd128: [1-9][0-9]{6,} codes$' "$TMP/out" 'the kernel of vectors was run'
tap_done
