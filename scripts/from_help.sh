#!/bin/sh
# A manual page, or completion for a shell, made from what the program's own --help says, and so from its option tables:
#   sh scripts/from_help.sh man|bash|zsh PROGRAM
# shellcheck disable=SC2016,SC2086,SC2116 # texts for other shells; lists of words
set -u
form=${1-} mnistq=${2-}
case $form in man | bash | zsh) ;; *) echo 'usage: from_help.sh man|bash|zsh PROGRAM' >&2 && exit 2 ;; esac
COLUMNS=80 && export COLUMNS
commands=$("$mnistq" --help | sed -n 's/^  \([a-z][a-z]*\)  *[a-z].*/\1/p') || exit 1
[ -n "$commands" ] || { echo "from_help.sh: $mnistq --help names no commands" >&2 && exit 1; }

case $form in
man)
    {
        "$mnistq" --version
        "$mnistq" --help
        for command in $commands; do echo "== $command" && "$mnistq" "$command" --help; done
    } | awk '
        function roff(text) { gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text); sub(/^[.]/, "\\\\\\&.", text); sub(/^'\''/, "\\\\\\&'\''", text); return text }
        NR == 1 {
            printf ".TH MNISTQ 1 \"\" \"%s\" \"User Commands\"\n.SH NAME\nmnistq \\- train, quantize and run a small network on MNIST\n", $0
            print ".SH SYNOPSIS\n.B mnistq\n.I COMMAND\n[options] [FILES]\n.SH DESCRIPTION\nThe commands:"
            next
        }
        /^== / { print ".SS mnistq " $2; examples = 0; next }
        /^usage:/ { if (seen++) print ".nf\n" roff(substr($0, 8)) "\n.fi\n.PP"; next }
        /^With every command:/ { print ".SH OPTIONS\nWith every command:"; next }
        /^Examples:/ { print ".PP\nExamples:\n.nf"; examples = 1; next }
        /^A file called - / { print ".PP" }
        examples && /^  / { print roff($0); next }
        examples { print ".fi"; examples = 0 }
        /^  [a-z]/ && seen == 1 { name = $1; $1 = ""; sub(/^ */, ""); print ".TP\n.B " name "\n" roff($0); next }
        /^  --/ {
            text = $0; sub(/^  /, "", text)
            option = text; sub(/   *.*/, "", option); sub(/^[^ ]*( [^ ]+)?/, "", text); sub(/^ */, "", text)
            print ".TP\n.B " roff(option)
            if (text != "" && seen == 1) print roff(text)
            next
        }
        /^$/ { next }
        { sub(/^ */, ""); print roff($0) }
        END { print ".SH EXIT STATUS\n0 done; 1 a file or the machine is at fault, told in one line; 2 the command line is." }'
    ;;
bash)
    echo '# Completion of mnistq for bash, made from its --help.'
    echo '_mnistq() {'
    echo '    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options=""'
    echo '    case $COMP_CWORD in 1)'
    echo "        COMPREPLY=(\$(compgen -W \"help $(echo $commands) --help --version\" -- \"\$word\"))"
    echo '        return ;;'
    echo '    esac'
    echo '    case ${COMP_WORDS[1]}:$before in'
    for command in $commands; do
        "$mnistq" "$command" --help | sed -n "s/^  \(--[a-z0-9-]*\) \([a-z0-9.-]*|[a-z0-9|.-]*\)\$/    $command:\1) options=\"\2\" ;;/p" | tr '|' ' '
    done
    echo '    *:--data) options=digits; COMPREPLY=($(compgen -d -- "$word")) ;;'
    echo '    esac'
    echo '    [ -n "$options" ] || case ${COMP_WORDS[1]} in'
    echo "    help) options=\"$(echo $commands)\" ;;"
    for command in $commands; do
        echo "    $command) options=\"$("$mnistq" "$command" --help | sed -n 's/^  \(--[a-z0-9-]*\).*/\1/p' | tr '\n' ' ')--quiet\" ;;"
    done
    echo '    esac'
    echo '    COMPREPLY+=($(compgen -W "$options" -- "$word"))'
    echo '}'
    echo 'complete -o default -F _mnistq mnistq'
    ;;
zsh)
    echo '#compdef mnistq'
    echo '# Completion of mnistq for zsh, made from its --help.'
    echo 'if (( CURRENT == 2 )); then'
    echo '    local -a commands=('
    "$mnistq" --help | sed -n "s/'/'\\\\''/g; s/^  \([a-z][a-z]*\)  *\([a-z].*\)/        '\1:\2'/p"
    echo "        'help:a command and its options')"
    echo '    _describe command commands'
    echo '    return'
    echo 'fi'
    echo 'case $words[2] in'
    echo "help) _values command $(echo $commands) ;;"
    for command in $commands; do
        echo "$command) _arguments '*:file:_files' \\"
        "$mnistq" "$command" --help | awk -v q="'" '
            function end() { if (option != "") printf "    %s%s[%s]%s%s \\\n", q, option, text, value, q }
            /^Examples:/ { exit }
            /^  --/ {
                end()
                option = $1; text = ""; value = ""
                if ($2 ~ /^(FILE|DIR)/) value = ":file:_files"
                else if ($2 ~ /[|]/) { value = $2; gsub(/[|]/, " ", value); value = ":value:(" value ")" }
                else if ($2 != "") value = ":value:"
                next
            }
            option != "" && /^        / { sub(/^ */, ""); gsub(/[\[\]:'\''\\]/, ""); text = text (text == "" ? "" : " ") $0 }
            END { end() }'
        echo "    '--quiet[print only errors]' ;;"
    done
    echo 'esac'
    ;;
esac
