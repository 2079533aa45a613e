#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The sample programs: a server and a client that are started separately and
# find each other by a socket. RPAL_BIN says where they are.
#
# To see these fail: let the server answer anything else, or make any of the
# system calls that the library builds on fail.

ksft_skip=4
tests=0
failed=0
bin=${RPAL_BIN:-}
messages=${RPAL_MESSAGES:-1000}
server=
log=client
# Against hangs, where there is such a program.
limit=$(command -v timeout) && limit="$limit 900"

result() {
	tests=$((tests + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tests $2"
	else
		echo "not ok $tests $2"
		failed=1
	fi
}

skip_all() {
	echo "1..0 # SKIP $1"
	exit $ksft_skip
}

echo "TAP version 13"
[ -e /proc/sys/kernel/rpal_disabled ] || skip_all "this kernel has no RPAL"
grep -qw pku /proc/cpuinfo || skip_all "this CPU has no protection keys"
for program in rpal echo-server echo-client; do
	if [ -z "$bin" ] && path=$(command -v $program); then
		bin=$(dirname "$path")
	fi
	[ -x "$bin/$program" ] || skip_all "$program is not installed"
done

work=$(mktemp -d)
cleanup() {
	[ -z "$server" ] || kill "$server" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

start_server() {
	rm -f "$work/socket"
	"$bin/rpal" run -- "$bin/echo-server" --socket "$work/socket" \
		>"$work/server.log" 2>&1 &
	server=$!
	until [ -S "$work/socket" ]; do
		kill -0 "$server" 2>/dev/null || return 1
		sleep 0.1
	done
}

client() {
	$limit "$bin/rpal" run -- "$bin/echo-client" --socket "$work/socket" \
		--messages "$messages" "$@" >"$work/$log.log" 2>&1
}

show() {
	[ "$failed" -eq 0 ] || sed 's/^/# /' "$work"/*.log
}

echo "1..6"

start_server
result $? "the server starts"

client
result $? "a client gets its echoes"

client --system-calls 100
result $? "a client gets its echoes from a server that makes system calls"

client &
first=$!
log=second client
second=$?
wait $first
result $((second + $?)) "two clients at once"

# A client whose server dies has to end, in whatever way.
messages=1000000000 client &
first=$!
sleep 1
kill -KILL "$server"
wait "$server" 2>/dev/null
wait $first
[ $? -ne 0 ]
result $? "a client ends when its server is killed"

start_server && client
result $? "a new server at the same place"

show
exit $failed
