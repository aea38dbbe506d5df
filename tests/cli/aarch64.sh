# The integer kernels on AArch64: tests/test_kernels.c as a plain program, cross-compiled and run under qemu. Only the
# integer engine is built: it needs no BLAS. Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
# shellcheck shell=sh
. tests/cli/tap.sh

CROSS_CC=${CROSS_CC:-aarch64-linux-gnu-gcc}
QEMU=${QEMU:-qemu-aarch64}

sources='tests/test_kernels.c src/quant/qlinear.c src/quant/qmlp.c src/base/rng.c src/base/block.c src/base/text.c'

build() {
    # shellcheck disable=SC2086 # many words
    "$CROSS_CC" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wno-unknown-pragmas -O2 -Isrc -DPLAIN_MAIN -static \
        $sources src/quant/kernels/*.c -lm -o "$TMP/kernels"
}

for tool in "$CROSS_CC" "$QEMU"; do
    command -v "$tool" >/dev/null 2>&1 || {
        skip 'the kernels of AArch64 equal the reference' "there is no $tool"
        tap_done
    }
done
echo 'int main(void) { return 0; }' >"$TMP/empty.c"
"$CROSS_CC" -static "$TMP/empty.c" -o "$TMP/empty" 2>/dev/null || {
    skip 'the kernels of AArch64 equal the reference' "$CROSS_CC links nothing: is libc6-dev-arm64-cross missing?"
    tap_done
}

check 'the integer engine builds for AArch64' build
check 'the kernels of AArch64 equal the reference' "$QEMU" "$TMP/kernels"
check_grep '^kernel neon-dot: [1-9][0-9]{6,} codes$' "$TMP/out" 'sdot was run'
check_grep '^kernel portable: [1-9][0-9]{6,} codes$' "$TMP/out" 'plain C was run'
tap_done
