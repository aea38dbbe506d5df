#!/bin/sh
# run.sh PROGRAM FOLDER: FOLDER/page.html in Chromium, on file://. `make test-page` calls it.
# TEST=WORD: only the files tests/page/test_*.js of such a name. Where a tool is missing it says so, and how to get it.
set -u
MNISTQ=$1 RESULTS=$2
cd "$(dirname "$0")/../.." || exit 1
NODE_PATH=${NODE_PATH:+$NODE_PATH:}build/page/node_modules
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}
export MNISTQ RESULTS NODE_PATH CHROMIUM
missing=
command -v node >/dev/null 2>&1 || missing=' node'
[ -n "$CHROMIUM" ] || missing="$missing chromium"
for package in playwright-core axe-core; do
    node -e "require('$package')" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "1..1"
    echo "ok 1 - the page in a browser # SKIP missing:$missing; scripts/install_deps.sh --page gets what there is"
    exit 0
fi
status=0
for file in tests/page/test_*"${TEST:-}"*.js; do
    echo "# $file"
    node "$file" || status=1
done
exit $status
