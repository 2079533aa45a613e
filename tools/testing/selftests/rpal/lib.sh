# SPDX-License-Identifier: GPL-2.0
#
# Sourced by the tests that are scripts: the beginning of their TAP, what they
# need, and their results. RPAL_BIN says where the programs are.
#
# What is not used here is used there:
# shellcheck shell=sh disable=SC2034

ksft_skip=4
bin=${RPAL_BIN:-}
tests=0
failed=0

skip_all() {
	echo "1..0 # SKIP $1"
	exit $ksft_skip
}

# need PROGRAM...: a kernel with RPAL, and these, all in one directory.
need() {
	[ -e /proc/sys/kernel/rpal_disabled ] || skip_all "this kernel has no RPAL"
	grep -qw pku /proc/cpuinfo || skip_all "this CPU has no protection keys"
	for program; do
		if [ -z "$bin" ] && path=$(command -v "$program"); then
			bin=$(dirname "$path")
		fi
		[ -x "$bin/$program" ] || skip_all "$program is not installed"
	done
}

# result STATUS NAME: one line.
result() {
	tests=$((tests + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tests $2"
	else
		echo "not ok $tests $2"
		failed=1
	fi
}

echo "TAP version 13"
