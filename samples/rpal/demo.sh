#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Exchanges messages over a Unix socket with epoll and by RPAL, and tells what
# each cost. Lines that begin with "RESULT" are for programs, the rest for
# people.
#
#   RPAL_BIN       where the programs are
#   RPAL_MESSAGES  how many messages (1000000)
#   RPAL_CPUS      1: both ends on CPU 0; 2: server on CPU 0, client on CPU 1
#
# Needs a kernel with RPAL. To count events as well it needs tracefs.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
bin=${RPAL_BIN:-$here/../../tools/rpal/target/release}
messages=${RPAL_MESSAGES:-1000000}
tracing=${RPAL_TRACING:-/sys/kernel/tracing}
server_cpu=0
client_cpu=0
[ "${RPAL_CPUS:-1}" -lt 2 ] || client_cpu=1

# A hand-over costs as much as the socket, and its mean is as steady after
# fewer. Tracing, too, needs fewer: what it looks for is events that are not
# there.
system_calls=$(((messages + 9) / 10))
traced_rpal=$(((messages + 9) / 10))
traced_uds=1000

work=$(mktemp -d)
server=

stop_server() {
	[ -n "$server" ] || return 0
	kill "$server" 2>/dev/null || :
	wait "$server" 2>/dev/null || :
	server=
}

cleanup() {
	stop_server
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() {
	echo "demo: $*" >&2
	exit 1
}

# Starts a server, given with what it is to be started by, and waits until it
# listens on the socket.
start_server() {
	socket=$work/$1
	shift
	"$@" --socket "$socket" --cpu "$server_cpu" &
	server=$!
	tries=0
	until [ -S "$socket" ]; do
		kill -0 "$server" 2>/dev/null || fail "the server has ended"
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || fail "the server does not listen"
		sleep 0.1
	done
}

can_trace() {
	[ -w "$tracing/trace_marker" ] &&
		[ -d "$tracing/events/raw_syscalls/sys_enter" ] &&
		[ -d "$tracing/events/sched/sched_switch" ]
}

trace_events() {
	echo "$1" >"$tracing/events/raw_syscalls/sys_enter/enable"
	echo "$1" >"$tracing/events/sched/sched_switch/enable"
	echo "$1" >"$tracing/tracing_on"
}

# Counts, in a trace of a client's between its two marks, the system calls that
# the tasks of both sides began, and the switches from or to one of them. The
# second mark is a write of the client's, which is not of the exchange.
count_events() {
	awk -v mechanism="$1" -v messages="$2" '
	FNR == NR {
		if ($1 == "TASK") ours[$3] = 1
		next
	}
	/^#/ { next }
	/rpal-echo: begin/ { between = 1; marks++; next }
	/rpal-echo: end/ { between = 0; marks++; next }
	/LOST.*EVENTS/ { lost = 1 }
	!between { next }
	/ sys_enter: / {
		match($0, /-[0-9]+ +\[/)
		task = substr($0, RSTART + 1, RLENGTH - 2) + 0
		if (task in ours) calls++
	}
	/ sched_switch: / {
		match($0, /prev_pid=[0-9]+/)
		from = substr($0, RSTART + 9, RLENGTH - 9) + 0
		match($0, /next_pid=[0-9]+/)
		to = substr($0, RSTART + 9, RLENGTH - 9) + 0
		if (from in ours || to in ours) switches++
	}
	END {
		if (marks != 2 || lost) {
			print "the trace is not complete"
			exit 1
		}
		calls--
		printf "%s: traced, during %d messages: ", mechanism, messages
		printf "%d system calls, %d switches of both sides\n", calls, switches
		printf "RESULT {\"bench\":\"traced\",\"mechanism\":\"%s\",", mechanism
		printf "\"messages\":%d,\"system_calls\":%d,", messages, calls
		printf "\"switches\":%d,\"unit\":\"events\"}\n", switches
	}' "$work/tasks" "$work/trace"
}

# Runs a client with both kinds of event traced. A traced task takes the slow
# way into system calls; calls that make none are not disturbed.
trace_client() {
	mechanism=$1
	count=$2
	shift 2
	echo 0 >"$tracing/tracing_on"
	echo >"$tracing/trace"
	trace_events 1
	"$@" --socket "$socket" --cpu "$client_cpu" --messages "$count" \
		--marker "$tracing/trace_marker" >"$work/tasks"
	trace_events 0
	cat "$tracing/trace" >"$work/trace"
	count_events "$mechanism" "$count"
}

start_server uds "$bin/echo-uds-server"
"$bin/echo-uds-client" --socket "$socket" --cpu "$client_cpu" --messages "$messages"
if can_trace; then
	trace_client uds_epoll "$traced_uds" "$bin/echo-uds-client"
fi
stop_server

start_server rpal "$bin/rpal" run -- "$bin/echo-server"
"$bin/rpal" run -- "$bin/echo-client" --socket "$socket" --cpu "$client_cpu" \
	--messages "$messages" --system-calls "$system_calls"
if can_trace; then
	trace_client rpal "$traced_rpal" "$bin/rpal" run -- "$bin/echo-client"
else
	echo "no tracefs at $tracing: system calls are not counted"
fi
stop_server
