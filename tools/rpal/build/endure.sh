#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# endure.sh KIND FLAVOUR...: what takes long (stress, fuzz, lives: see
# endure.py), on each of these kernels.

. "$(dirname "$0")/common.sh"

(($# > 1)) || die "usage: endure.sh KIND FLAVOUR..."
kind=$1
shift
begin=$SECONDS
"$HERE/setup.sh"
"$HERE/user.sh" selftests
for flavour; do
	kernel "$flavour"
done
say BUILT "after $(((SECONDS - begin) / 60)) min $(((SECONDS - begin) % 60)) s"
asked=()
for v in MINUTES SERVICES OPERATIONS LIVES WORKERS SEED; do
	asked+=("$v=${!v:-}")
done
exec "$HERE/enter" env "${asked[@]}" python3 "$HERE/endure.py" "$kind" "$@"
