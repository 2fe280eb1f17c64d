#!/usr/bin/env bash
# Checks what the example promises; its argument is the built example:
#
#     cargo build --release --example service && examples/service/checks.sh target/release/examples/service
set -u
service=${1:?the path of the built example}
out=$(mktemp) err=$(mktemp) svg=$(mktemp)
trap 'rm -f "$out" "$err" "$svg"' EXIT
failed=0

check() { # what it is, then a command that holds if it is so
    local what=$1
    shift
    if "$@"; then echo "ok      $what"; else echo "FAILED  $what"; sed 's/^/        /' "$err"; failed=1; fi
}
lines() { [ "$(wc -l <"$2")" -eq "$1" ]; }
says() { grep -q -- "$1" "$2"; }
running() { [ -n "$(ps -o stat= -p "$1" | grep -v Z)" ]; }
gone() { ! running "$1"; }

# The service process of the command $1, once it is there.
child() {
    local pid=
    until pid=$(pgrep -P "$1" | head -1) && [ -n "$pid" ]; do running "$1" || return 1; sleep 0.1; done
    echo "$pid"
}

"$service" --quick --svg "$svg" >"$out" 2>"$err"
check 'a quick run succeeds' [ $? -eq 0 ]
for row in requests/s p50 p99 'peak RSS' 'before the load' 'after the burst' 'after idle' 'after reclaim'; do
    check "the table has the row: $row" says "$row" "$out"
done
for word in '^<svg' bandolier system fill load burst idle reclaim MiB seconds; do
    check "the plot has: $word" says "$word" "$svg"
done
check 'without a terminal each phase is a plain line' says '^round 1 of 1, system: reclaim$' "$err"
check 'and nothing moves the cursor' [ -z "$(tr -d '\n\040-\176' <"$err")" ]

coproc ALONE { BANDOLIER_SERVICE=bandolier "$service"; }
read -r listening <&"${ALONE[0]}"
port=${listening##*:}
"$service" --port "$port" >"$out" 2>"$err"
check 'a taken port is a failure' [ $? -eq 1 ]
check 'told' says "^service: port $port is taken: " "$err"
check 'in one line' [ "$(grep -vc '^round' "$err")" -eq 1 ]
alone=$ALONE_PID
exec {ALONE[1]}>&-
sleep 0.5
check 'a service ends with its stdin' gone "$alone"

"$service" --quick >"$out" 2>"$err" & command=$!
victim=$(child $command) && sleep 0.7 && kill -KILL "$victim"
wait $command
check 'the death of a service is a failure' [ $? -eq 1 ]
check 'told' says '^service: the bandolier service died (signal: 9' "$err"
check 'without a panic' [ "$(grep -c panicked "$err")" -eq 0 ]

"$service" >"$out" 2>"$err" & command=$!
orphan=$(child $command) && sleep 0.7 && kill -KILL $command
wait $command 2>/dev/null
sleep 0.5
check 'a service does not outlive its command' gone "$orphan"

"$service" --prot 1 >"$out" 2>"$err"
check 'an unknown option is a mistake' [ $? -eq 2 ]
check 'told in one line' lines 1 "$err"

"$service" --quick --svg "$svg/nowhere.svg" >"$out" 2>"$err"
check 'a plot that has no folder is a mistake' [ $? -eq 2 ]
check 'told in one line, too' lines 1 "$err"
exit $failed
