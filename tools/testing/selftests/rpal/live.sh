#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The userspace library's own tests with real services, as TAP.
#
# To see these fail: break what the library promises, such as that a late
# call's answer stays out of the buffer.

. "$(dirname "$0")/lib.sh"

need rpal-live

# Each by itself: what its services print is no result.
names=$("$bin/rpal-live" --list 2>/dev/null | sed -n 's/: test$//p')
# shellcheck disable=SC2086 # they are words
set -- $names
echo "1..$#"
for name; do
	output=$("$bin/rpal-live" --exact "$name" 2>&1)
	status=$?
	[ $status -eq 0 ] || echo "$output" | sed 's/^/# /'
	result $status "$name"
done
[ "$tests" -ne 0 ] || failed=1
exit $failed
