#!/bin/sh
# TAP tests of scripts/install_deps.sh with a compiler that finds nothing, and an apt-get, id, sudo and su that only tell
# how they were called. From the root of the repository:
#   sh tests/cli/install.sh
# shellcheck disable=SC2317 # functions are only called through check

. tests/cli/tap.sh

script=$PWD/scripts/install_deps.sh
case $(uname) in Linux) ;; *)
    skip 'install_deps.sh with apt' 'this is not Linux'
    tap_done
    ;;
esac
unset CC CPPFLAGS LDFLAGS
bin=$TMP/bin
mkdir "$bin"
for tool in sh env cat sed awk sort tr head tail mktemp rm uname printf; do ln -s "$(command -v $tool)" "$bin/$tool"; done
stand_in() { cat >"$bin/$1" && chmod +x "$bin/$1"; }
stand_in cc <<'END'
#!/bin/sh
[ -e "$TMP/installed" ]
END
for tool in make pkg-config curl; do cp "$bin/cc" "$bin/$tool"; done
stand_in id <<'END'
#!/bin/sh
echo "${USER_ID:-0}"
END
stand_in apt-get <<'END'
#!/bin/sh
case $* in
*--print-uris*)
    [ -z "${NO_LISTS:-}" ] || exit 100
    printf '%s\n' '0 upgraded, 57 newly installed, 0 to remove and 3 not upgraded.' \
        'Need to get 52.6 MB/53.2 MB of archives.' 'After this operation, 260 MB of additional disk space will be used.'
    exit
    ;;
esac
echo "apt-get $*" >>"$TMP/calls"
echo "E: a line of apt's"
case $*:${FAILS:-} in install*:yes) exit 100 ;; install*) : >"$TMP/installed" ;; esac
END
stand_in su <<'END'
#!/bin/sh
[ "$1" = -c ] && exec sh -c "$2"
END
export TMP
deps() { PATH=$bin "$bin/sh" "$script" "$@"; }
forget() { rm -f "$TMP/calls" "$TMP/installed"; }

check_status 1 '--check: something is missing' deps --check
check_grep 'missing: .*a C compiler' "$TMP/err" '... is told'
check '... and nothing is called' [ ! -e "$TMP/calls" ]

check 'as root' deps
cp "$TMP/out" "$TMP/told"
check_grep '^to install: 57 packages .*libopenblas-dev.*: 52.6 MB to fetch, 260 MB on disk$' "$TMP/told" 'what and how much is told'
check_no_grep "a line of apt's" "$TMP/told" "without apt's own lines"
check '... before it is installed' sh -c "sed -n '/^to install/,\$p' '$TMP/told' | grep -q '^+ apt-get install'"
check_grep '^apt-get install -y --no-install-recommends .*libopenblas-dev' "$TMP/calls" '... and then it is'
check 'again' deps
check_grep '^install_deps.sh: all there$' "$TMP/out" '... all is there'

forget
check_status 1 'as root, when apt fails' env FAILS=yes PATH="$bin" "$bin/sh" "$script"
check_grep "E: a line of apt's" "$TMP/err" "... apt's own lines tell why"
check_grep 'this failed: apt-get install' "$TMP/err" '... and what to try'

forget
check_status 1 'not root, without sudo' env USER_ID=1000 NO_LISTS=yes PATH="$bin" "$bin/sh" "$script"
sed -n 's/^    su /su /p' "$TMP/err" >"$TMP/hint"
check '... nothing is called' [ ! -e "$TMP/calls" ]
check_grep "^su -c '" "$TMP/hint" '... the hint is a line to paste'
check 'pasted, it works' env PATH="$bin" "$bin/sh" "$TMP/hint"
check_grep '^apt-get update$' "$TMP/calls" '... the lists first'
check_grep '^apt-get install -y .*libcmocka-dev' "$TMP/calls" '... then the packages'
check 'and then all is there' env USER_ID=1000 PATH="$bin" "$bin/sh" "$script"

forget
stand_in sudo <<'END'
#!/bin/sh
[ "$1" != -n ] || exit 1
exec "$@"
END
check_status 1 'not root, sudo would ask' env USER_ID=1000 PATH="$bin" "$bin/sh" "$script"
sed -n 's/^    sudo /sudo /p' "$TMP/err" >"$TMP/hint"
check_grep '52.6 MB to fetch, 260 MB on disk' "$TMP/err" '... how much is told'
check 'pasted, it works' env PATH="$bin" "$bin/sh" "$TMP/hint"
check_grep '^apt-get install -y .*libcmocka-dev' "$TMP/calls" '... all of it'
tap_done
