#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# mutants.sh: builds a kernel with each mutant of tools/testing/rpal-mutants
# (MUTANTS=regex: of those with such a name), and runs the tests that must
# find it.

. "$(dirname "$0")/common.sh"

regex=${MUTANTS:-}
results=$BUILD/results/mutants
begin=$(date +%s)
unset RPAL_MUTANT
# Many a mutant ends in a guest that waits for ever.
export RPAL_QUIET_MINUTES=${RPAL_QUIET_MINUTES:-3}

mutants() { "$HERE/enter" python3 "$HERE/mutants.py" "$@"; }

"$HERE/user.sh" selftests
names=$(mutants list "$regex")
say KERNEL "mutant, without one"
"$HERE/kmake.sh" mutant -s bzImage || die "the kernel without a mutant does not build"
rm -rf "$results" "$results.json"
mkdir -p "$results"
mutants control "$regex" "$begin"
trap '"$HERE/overlay.sh" mutant' EXIT
for name in $names; do
	since=$(date +%s)
	verb=run
	RPAL_MUTANT=$name "$HERE/kmake.sh" mutant -s bzImage >"$results/$name.build.log" 2>&1 || verb=broken
	mutants $verb "$name" "$begin" "$since"
done
mutants report "$regex" "$begin"
