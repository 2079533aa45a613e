#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The userspace library's own tests with real services, as TAP. RPAL_BIN says
# where their program is.
#
# To see these fail: break what the library promises, such as that a late
# call's answer stays out of the buffer.

ksft_skip=4
bin=${RPAL_BIN:-}

skip_all() {
	echo "1..0 # SKIP $1"
	exit $ksft_skip
}

echo "TAP version 13"
[ -e /proc/sys/kernel/rpal_disabled ] || skip_all "this kernel has no RPAL"
grep -qw pku /proc/cpuinfo || skip_all "this CPU has no protection keys"
[ -n "$bin" ] || bin=$(dirname "$(command -v rpal-live)")
[ -x "$bin/rpal-live" ] || skip_all "rpal-live is not installed"

# Each by itself: what its services print is no result.
tests=$("$bin/rpal-live" --list 2>/dev/null | sed -n 's/: test$//p')
number=0
failed=0
# shellcheck disable=SC2086 # they are words
set -- $tests
echo "1..$#"
for test; do
	number=$((number + 1))
	if output=$("$bin/rpal-live" --exact "$test" 2>&1); then
		echo "ok $number $test"
	else
		echo "$output" | sed 's/^/# /'
		echo "not ok $number $test"
		failed=1
	fi
done
[ "$number" -ne 0 ] || failed=1
exit $failed
