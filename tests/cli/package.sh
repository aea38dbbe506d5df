#!/bin/sh
# TAP tests of `make install` and of what scripts/from_help.sh makes from --help. From the root of the repository:
#   BUILD=build sh tests/cli/package.sh
# shellcheck disable=SC2317,SC2016,SC2046,SC2015,SC1003 # functions are called through check; programs for other shells hold dollars; words

. tests/cli/tap.sh

build=${BUILD:-build} # as make was given it: another name of the same folder would compile all anew
tap_program
to="$TMP/in st/usr" flags=$(cat "$BUILD/flags")
case $flags in *-fsanitize* | *--coverage*)
    skip 'make install' 'an instrumented build'
    tap_done ;;
esac
installs() { make -s BUILD="$build" PREFIX=/usr DESTDIR="$TMP/in st" install; }
check 'make install, below a folder with a space' installs
check 'the program runs' "$to/bin/mnistq" --version
client() { # in C, by what pkg-config says
    printf '%s\n' '#include <mnistq.h>' '#include <string.h>' 'int main(void) { return strcmp(mnistq_version(), MNISTQ_VERSION); }' >"$TMP/c.c" &&
        "${CC:-cc}" "$TMP/c.c" -I"$to/include" -L"$to/lib" $(PKG_CONFIG_PATH=$to/lib/pkgconfig pkg-config --libs-only-l mnistq) -o "$TMP/c" && "$TMP/c"
}
version_is() { [ "mnistq $(PKG_CONFIG_PATH=$to/lib/pkgconfig pkg-config --modversion mnistq)" = "$("$mnistq" --version | head -n 1)" ]; }
if command -v pkg-config >/dev/null; then
    check 'a program in C finds header and library by pkg-config' client
    check 'pkg-config tells the version' version_is
else skip 'pkg-config' 'it is not there'; fi

manual=$to/share/man/man1/mnistq.1
all_told() { # FILE: every command and option of --help
    tr -d '\\' <"$1" >"$TMP/told"
    for command in $("$mnistq" --help | sed -n 's/^  \([a-z][a-z]*\)  *[a-z].*/\1/p'); do
        grep -qw -e "$command" "$TMP/told" || { echo "$command is missing" && return 1; }
        "$mnistq" "$command" --help | sed -n 's/^  \(--[a-z0-9-]*\).*/\1/p' >"$TMP/options"
        while read -r option; do grep -qw -e "$option" "$TMP/told" || { echo "$command $option is missing" && return 1; }; done <"$TMP/options"
    done
}
check 'the manual has every command and option' all_told "$manual"
lints() { groff -man -ww -Tutf8 "$manual" >"$TMP/page" 2>"$TMP/warnings" && [ ! -s "$TMP/warnings" ] && grep -q 'per-channel' "$TMP/page"; }
if command -v groff >/dev/null; then check 'groff has no warning' lints; else skip 'groff' 'it is not there'; fi

bash_gives() { # EXPECTED WORD...
    want=$1
    shift
    bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mnistq; echo "${COMPREPLY[@]}"' "$to/share/bash-completion/completions/mnistq" "$@" >"$TMP/found" &&
        [ "$(cat "$TMP/found")" = "$want" ] || { cat "$TMP/found" && return 1; }
}
check 'bash: has every option' all_told "$to/share/bash-completion/completions/mnistq"
check 'bash completes a command' bash_gives quantize mnistq quan
check 'bash completes an option' bash_gives --scheme mnistq quantize --sch
check 'bash completes a choice' bash_gives 'per-channel per-tensor' mnistq quantize --scheme per
check 'zsh: has every option' all_told "$to/share/zsh/site-functions/_mnistq"
if command -v zsh >/dev/null; then check 'zsh parses it' zsh -n "$to/share/zsh/site-functions/_mnistq"; else skip 'zsh' 'it is not there'; fi
uninstalls() { make -s BUILD="$build" PREFIX=/usr DESTDIR="$TMP/in st" uninstall && [ -z "$(find "$TMP/in st" -type f)" ]; }
check 'make uninstall leaves no file' uninstalls
check_status 2 'no such form' sh scripts/from_help.sh fish "$mnistq"
tap_done
