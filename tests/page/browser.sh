#!/bin/sh
# browser.sh BUILD DATA RESULTS/x: makes a page of DATA in BUILD/page/NAME and tries it in Chromium on file://.
# `make test-page` calls it. TEST=WORD: only files tests/page/test_*.js of such a name; ONLY=WORDS: only tests with these in their name.
# Where a tool is missing it says so, and how to get it.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$1 data=$2 name=$(basename "$(dirname "$3")")
MNISTQ=$PWD/$BUILD/mnistq RESULTS=$PWD/$BUILD/page/$name
case $BUILD in /*) MNISTQ=$BUILD/mnistq RESULTS=$BUILD/page/$name ;; esac
NODE_PATH=${NODE_PATH:+$NODE_PATH:}$PWD/build/page/node_modules
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}
export MNISTQ RESULTS NODE_PATH CHROMIUM

missing=
command -v node >/dev/null 2>&1 || missing=' node'
[ -n "$CHROMIUM" ] || missing="$missing chromium"
for package in playwright-core axe-core; do
    node -e "require('$package')" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo '1..1'
    echo "ok 1 - the page in a browser # SKIP missing:$missing; scripts/install_deps.sh --browser gets it"
    exit 0
fi

"$MNISTQ" --quiet exercise --reuse --scheme both --data "$data" --results "$RESULTS" >/dev/null &&
    sh scripts/page_models.sh "$MNISTQ" "$data" "$RESULTS/models" &&
    "$MNISTQ" page --data "$data" --results "$RESULTS" --parts "$BUILD/page" \
        --reference results/reference/mnist >/dev/null || exit 1
status=0
for file in tests/page/test_*"${TEST:-}"*.js; do
    echo "# $file"
    node "$file" || status=1
done
exit $status
