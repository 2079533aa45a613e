#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test.sh [kselftest]: builds whatever the tests need, and runs them.

. "$(dirname "$0")/common.sh"

[[ ${1:-} == kselftest ]] && {
	"$HERE/user.sh"
	kernel release
	exec "$HERE/enter" python3 "$HERE/test.py" --kselftest
}

begin=$SECONDS
"$HERE/setup.sh"
need_space 4
# Results of an earlier run are no answer to this one.
rm -rf "$BUILD/results/test.json" "$BUILD/results/cells"
for flavour in $("$HERE/enter" python3 "$HERE/test.py" --flavours); do
	kernel "$flavour"
done
"$HERE/user.sh"
say BUILT "after $(((SECONDS - begin) / 60)) min $(((SECONDS - begin) % 60)) s"
exec "$HERE/enter" python3 "$HERE/test.py"
