#!/bin/sh
# Installs what `make mnist` and `make test` need, and nothing when nothing is missing.
# What is missing is found by compiling and linking a small program per library with ${CC:-cc},
# not by asking the package manager: a library in another place, found through CPPFLAGS and LDFLAGS,
# is as good as a packaged one.

set -u

usage() {
    cat <<'END'
usage: scripts/install_deps.sh [--check] [--dev] [--page] [--browser] [--onnx]

  --check   only say what is missing
  --dev     also what developers use: clang, clang-format, clang-tidy, cppcheck, shellcheck, valgrind
  --page    also what `make page` compiles WebAssembly with: clang, lld, wasi-libc (250 MB)
  --browser also what `make test-page` opens the page with: node, Chromium, and from npm, into build/page,
            playwright-core and axe-core (600 MB)
  --onnx    also what `mnistq export --format onnx` is built with: protobuf-c, ONNX's schema (60 MB)

Installs through apt (as root or with sudo) or brew; elsewhere it names what is needed. Says before it begins what it
installs and how much that is (a bare Debian 12: 90 packages, 98 MB to fetch, 450 MB on disk).
exit status: 0 all there, 1 something is missing and could not be installed, 2 usage
END
}

say() { printf '%s\n' "$*"; }
warn() { printf 'install_deps.sh: %s\n' "$*" >&2; }
advise() { printf '    %s\n' "$*" >&2; } # a line to copy

check_only=no
dev=no
page=no
browser=no
onnx=no
for arg; do
    case $arg in
    --check) check_only=yes ;;
    --dev) dev=yes ;;
    --page) page=yes ;;
    --browser) browser=yes ;;
    --onnx) onnx=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done

cc=${CC:-cc}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/mnistq-deps.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' HUP INT TERM

system=other
if [ "$(uname -s)" = Darwin ]; then
    system=mac
    if command -v brew >/dev/null 2>&1; then
        brew=$(brew --prefix) # some of its libraries are "keg-only", out of the compiler's sight
        PKG_CONFIG_PATH=$brew/opt/openblas/lib/pkgconfig:$brew/opt/openssl@3/lib/pkgconfig:$brew/opt/jpeg-turbo/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
        export PKG_CONFIG_PATH
        CPPFLAGS="${CPPFLAGS:-} -I$brew/include"
        LDFLAGS="${LDFLAGS:-} -L$brew/lib"
    fi
elif command -v apt-get >/dev/null 2>&1; then
    system=apt
fi

# ---- what is missing ------------------------------------------------------------------------------

missing='' # for people, comma-separated
apt=''     # packages
brews=''   # formulas
stb=yes

lacks() { # NAME APT-PACKAGES BREW-FORMULAS
    missing="$missing${missing:+, }$1"
    apt="$apt $2"
    brews="$brews $3"
}

has() { command -v "$1" >/dev/null 2>&1; }

builds() { # PROGRAM FLAG...: it compiles and links
    printf '%b\n' "$1" >"$tmp/probe.c"
    shift
    eval "$cc -std=c11 ${CPPFLAGS:-} -o '$tmp/probe' '$tmp/probe.c' ${LDFLAGS:-} "'"$@"' >/dev/null 2>&1 # words as in make
}

with() { # PKG-CONFIG-NAME PLAIN-LIBRARY PROGRAM: with the flags that pkg-config knows, else without
    # shellcheck disable=SC2046 # several words
    builds "$3" $(pkg-config --cflags --libs "$1" 2>/dev/null) "$2" || builds "$3" "$2"
}

find_missing() {
    missing='' apt='' brews='' stb=yes
    has make || lacks make build-essential make
    has pkg-config || lacks pkg-config pkg-config pkg-config
    has curl || has wget || lacks 'curl or wget' curl curl
    # https needs the certificates of the authorities; only where apt keeps them is their place known
    if [ $system = apt ] && [ ! -s /etc/ssl/certs/ca-certificates.crt ]; then
        lacks 'CA certificates' ca-certificates ''
    fi
    if builds 'int main(void) { return 0; }'; then
        libraries
    elif [ $system = mac ] && ! has "${cc%% *}"; then
        lacks "a C compiler ($cc): run xcode-select --install" '' ''
    else
        # Without a compiler nothing can be probed: ask for everything, apt skips what is there.
        case ${cc##*/} in clang*) compiler='clang libomp-dev' ;; *) compiler= ;; esac
        lacks "a C compiler ($cc) that works, perhaps the libraries" \
            "build-essential $compiler libopenblas-dev libstb-dev zlib1g-dev libcjson-dev libcmocka-dev libssl-dev \
libjpeg-dev libpng-dev" \
            'openblas cjson cmocka libomp openssl@3 jpeg-turbo libpng'
    fi
    [ $page = no ] || builds_wasm || lacks 'clang for WebAssembly' \
        "clang lld wasi-libc $(libclang_rt)" 'llvm lld wasi-libc wasi-runtimes'
    if [ $onnx = yes ]; then
        { has protoc-c && builds 'int main(void) { return 0; }' -lprotobuf-c; } ||
            lacks protobuf-c 'protobuf-c-compiler libprotobuf-c-dev' protobuf-c
        [ -e /usr/include/onnx/onnx.proto ] || [ -e /usr/local/include/onnx/onnx.proto ] || lacks onnx.proto libonnx-dev onnx
    fi
    if [ $browser = yes ]; then
        has node || lacks node nodejs node
        has npm || lacks npm npm ''
        has chromium || has chromium-browser || has google-chrome || [ -n "${CHROMIUM:-}" ] || lacks Chromium chromium ''
    fi
    if [ $dev = yes ]; then
        has clang || lacks clang 'clang libomp-dev' llvm
        for tool in clang-format clang-tidy cppcheck shellcheck; do has $tool || lacks $tool $tool $tool; done
        [ $system = mac ] || has valgrind || lacks valgrind valgrind '' # there is none for today's macOS
    fi
}

# As page.mk does; a program with long doubles needs the compiler's own library too.
builds_wasm() {
    printf '#include <stdlib.h>\nlong double f(long double x) { return x * x + atoi("1"); }\n' >"$tmp/probe.c"
    "${WASM_CC:-clang}" --target=wasm32-wasi -msimd128 -mexec-model=reactor -Wl,--export=f "$tmp/probe.c" \
        -o "$tmp/probe.wasm" >/dev/null 2>&1
}

# Debian has a package for each version of clang and none without: libclang-rt-14-dev-wasm32.
libclang_rt() {
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\).*/\1/p' | head -n 1)
    echo "${version:+libclang-rt-$version-dev-wasm32}"
}

libraries() {
    omp='#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }'
    builds "$omp" -fopenmp ||
        { [ $system = mac ] && builds "$omp" -Xpreprocessor -fopenmp "-I${brew:-}/opt/libomp/include" \
            "-L${brew:-}/opt/libomp/lib" -lomp; } ||
        lacks OpenMP "$(case ${cc##*/} in clang*) echo libomp-dev ;; *) echo build-essential ;; esac)" libomp
    with openblas -lopenblas '#include <cblas.h>\nint main(void) { float x = 1; return cblas_sdot(1, &x, 1, &x, 1) != 1; }' ||
        lacks OpenBLAS libopenblas-dev openblas
    with zlib -lz '#include <zlib.h>\nint main(void) { return gzclose(gzopen("", "rb")) == 0; }' ||
        lacks zlib zlib1g-dev zlib
    with libcjson -lcjson '#include <cjson/cJSON.h>\nint main(void) { cJSON_Delete(cJSON_CreateObject()); return 0; }' ||
        lacks cJSON libcjson-dev cjson
    with cmocka -lcmocka '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <cmocka.h>
static void t(void **s) { (void)s; }
int main(void) { const struct CMUnitTest a[] = {cmocka_unit_test(t)}; return cmocka_run_group_tests(a, NULL, NULL); }' ||
        lacks cmocka libcmocka-dev cmocka
    with libcrypto -lcrypto '#include <openssl/evp.h>\nint main(void) { return EVP_sha256() == NULL; }' ||
        lacks 'libcrypto (OpenSSL)' libssl-dev openssl@3
    with libjpeg -ljpeg '#include <stdio.h>\n#include <jpeglib.h>\nint main(void) { struct jpeg_error_mgr e; return !jpeg_std_error(&e); }' ||
        lacks libjpeg-turbo libjpeg-dev jpeg-turbo
    with libpng -lpng '#include <png.h>\nint main(void) { return png_access_version_number() == 0; }' ||
        lacks libpng libpng-dev libpng
    builds '#include <stb/stb_image.h>\n#include <stb/stb_image_write.h>\nint main(void) { return 0; }' ||
        builds '#include <stb_image.h>\n#include <stb_image_write.h>\nint main(void) { return 0; }' || {
        stb=no
        lacks 'stb (stb_image.h, stb_image_write.h)' libstb-dev ''
    }
}

# Of fixed versions: a test of the page should not fail for another rule of axe.
node_packages() {
    [ $browser = yes ] || return 0
    folder=$(dirname "$0")/../build/page
    NODE_PATH="${NODE_PATH:+$NODE_PATH:}$folder/node_modules" \
        node -e "require('playwright-core'); require('axe-core')" >/dev/null 2>&1 && return 0
    if [ $check_only = yes ]; then
        warn 'missing: playwright-core, axe-core'
        return 1
    fi
    say '+ npm install playwright-core axe-core'
    mkdir -p "$folder" && npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error \
        playwright-core@1.65.1 axe-core@4.14.1 >"$tmp/npm" 2>&1 && return 0
    sed 's/^/    /' "$tmp/npm" | tail -n 5 >&2
    warn 'this failed: npm install playwright-core axe-core'
    return 1
}

find_missing
if [ -z "$missing" ]; then
    node_packages || exit 1
    say 'install_deps.sh: all there'
    exit 0
fi
warn "missing: $missing"
[ $check_only = no ] || exit 1

# ---- installing it --------------------------------------------------------------------------------

install_apt() {
    # Once each, and split into words from here on.
    # shellcheck disable=SC2046,SC2086
    set -- $(printf '%s\n' $apt | sort -u)
    install="apt-get install -y --no-install-recommends $*"
    if [ "$(id -u)" -eq 0 ]; then
        root=''
    elif has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        root=sudo # with a terminal it may ask for the password
    else
        how_much "$@" >&2
        warn 'not root, and sudo cannot be used without asking; paste this, then try again:'
        if has sudo; then advise "sudo sh -c 'apt-get update && $install'"; else advise "su -c 'apt-get update && $install'"; fi
        return 1
    fi
    update_failed=''
    # shellcheck disable=SC2086
    apt_get update || update_failed=', and before it: apt-get update' # one broken source need not matter
    how_much "$@"
    # shellcheck disable=SC2086
    apt_get ${install#apt-get } || {
        sed 's/^/    /' "$tmp/apt" | tail -n 20 >&2
        warn "this failed: ${root:+$root }$install$update_failed"
        return 1
    }
}

apt_get() { # ARGUMENT...: what it prints, hundreds of lines, goes to a file
    say "+ ${root:+$root }apt-get $*"
    $root env DEBIAN_FRONTEND=noninteractive apt-get "$@" >"$tmp/apt" 2>&1
}

how_much() { # PACKAGE...: apt's own numbers, where it knows the packages already
    LC_ALL=C apt-get install -y --no-install-recommends --print-uris "$@" 2>/dev/null | awk -v asked="$*" '
        / newly installed/ { for (i = 1; i <= NF; i++) if ($i == "newly") packages = $(i - 1) }
        /^Need to get / { fetch = $0; sub(/^Need to get /, "", fetch); sub(/( of archives|[/]).*/, "", fetch) }
        /^After this operation/ { disk = $4 " " $5 }
        END { if (packages) printf "to install: %s packages (%s, and what these need): %s to fetch, %s on disk\n",
                  packages, asked, (fetch == "" ? "nothing" : fetch), disk
              else printf "to install: %s\n", asked }'
}

install_brew() {
    has brew || {
        warn "Homebrew is needed (https://brew.sh), then: brew install$brews"
        return 1
    }
    if [ -n "$(printf %s "$brews" | tr -d ' ')" ]; then
        say "+ brew install$brews"
        # shellcheck disable=SC2086
        brew install $brews || {
            warn "this failed: brew install$brews"
            return 1
        }
    fi
}

case $system in
apt) install_apt || exit 1 ;;
mac) install_brew || exit 1 ;;
*)
    warn 'only apt and brew are known here. Install with your package manager what is missing; in all it takes:'
    advise 'a C11 compiler with OpenMP, make, pkg-config, curl or wget, and the development files of'
    advise 'OpenBLAS (cblas.h), stb (stb_image.h), libjpeg-turbo, libpng, zlib, cJSON, cmocka, OpenSSL (libcrypto)'
    exit 1
    ;;
esac

find_missing
if [ $stb = no ] && [ $system = mac ]; then
    warn 'stb is two headers without a formula; run this, then try again:'
    advise "mkdir -p $brew/include/stb && cd $brew/include/stb &&"
    advise 'curl -fLO https://raw.githubusercontent.com/nothings/stb/master/stb_image.h &&'
    advise 'curl -fLO https://raw.githubusercontent.com/nothings/stb/master/stb_image_write.h'
fi
if [ -n "$missing" ]; then
    warn "still missing: $missing"
    exit 1
fi
node_packages || exit 1
say 'install_deps.sh: all there'
