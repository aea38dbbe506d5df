#!/bin/sh
# `make lint`: clang-format, clang-tidy, cppcheck and shellcheck over the tree, each where it is there. FLAGS are the
# compiler's, for includes. What may stay is in .clang-format, .clang-tidy and .cppcheck-suppressions.
set -u
cd "$(dirname "$0")/.." || exit 1
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
flags="-std=c11 -D_GNU_SOURCE -Isrc -Iinclude -I${BUILD:-build} ${FLAGS:-}"
failed=0
tracked() { git ls-files -- "$@"; }
lint() { # NAME COMMAND...
    name=$1
    shift
    command -v "$name" >/dev/null 2>&1 || {
        echo "$name: skipped, it is not there (scripts/install_deps.sh --dev installs it)"
        return
    }
    "$@" || {
        echo "$name: FAILED"
        failed=1
        return
    }
    echo "$name: all right"
}
format() { tracked '*.c' '*.h' | xargs clang-format --dry-run -Werror; }
tidy() {
    # shellcheck disable=SC2086 # several flags
    tracked 'src/*.c' | xargs -n 4 -P "$jobs" sh -c 'clang-tidy --quiet "$@" -- '"$flags -fopenmp"' 2>/dev/null' sh
}
check_c() {
    # shellcheck disable=SC2086
    cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 -j "$jobs" --enable=warning,performance,portability \
        --suppressions-list=.cppcheck-suppressions -D_GNU_SOURCE -D__x86_64__ -D__GNUC__ -Isrc -Iinclude -I"${BUILD:-build}" src
}
check_sh() { tracked '*.sh' .ci/run | xargs shellcheck -x --source-path=. -S warning; }

lint clang-format format
lint cppcheck check_c
lint shellcheck check_sh
lint clang-tidy tidy
exit $failed
