#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The sample programs: a server and a client that are started separately and
# find each other by a socket.
#
# To see these fail: let the server answer anything else, or make any of the
# system calls that the library builds on fail.

. "$(dirname "$0")/lib.sh"

messages=${RPAL_MESSAGES:-1000}
server=
log=client
# Against hangs, where there is such a program.
limit=$(command -v timeout) && limit="$limit 900"

need rpal echo-server echo-client

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
