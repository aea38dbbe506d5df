#!/bin/sh
# Usage: run_with_data.sh DIR PROGRAM ARGUMENTS...
# Runs the program on MNIST in DIR, fetched first where it is missing, with --results results/mnist; on the
# built-in digits, with --results results/digits, when no mirror can be reached. Never one under the other's name.
# An argument RESULTS/NAME becomes NAME in the folder of results that is used.
set -u
dir=$1
shift
sh "$(dirname "$0")/fetch_mnist.sh" "$dir"
case $? in
0)
    data=$dir
    results=results/mnist
    ;;
3)
    echo "" >&2
    echo "*** MNIST CANNOT BE FETCHED: no mirror can be reached. ***" >&2
    echo "*** Running on the built-in digits instead: results/digits. These are not MNIST's numbers. ***" >&2
    echo "" >&2
    data=digits
    results=results/digits
    ;;
*) exit 1 ;;
esac
for argument; do
    shift
    case $argument in
    RESULTS/*) argument=$results/${argument#RESULTS/} ;;
    esac
    set -- "$@" "$argument"
done
exec "$@" --data "$data" --results "$results"
