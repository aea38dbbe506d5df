# `make help`: a line for each target "name: ... ## what it does | what it costs" of the Makefile, and its lines "#= ...".
/^[a-z-]+:.*##/ {
    name = what = cost = $0
    sub(/:.*/, "", name)
    sub(/.*## */, "", what)
    sub(/ *[|].*/, "", what)
    if (!sub(/.*## .*[|] */, "", cost)) cost = ""
    printf "  %-14s %-12s %s\n", name, cost, what
}
/^#=/ { variables = variables substr($0, 3) "\n" }
END { printf "make TARGET [VARIABLE=VALUE...]; the variables with their defaults or choices:\n%s", variables }
