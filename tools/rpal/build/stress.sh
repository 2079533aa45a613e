#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# stress.sh FLAVOUR...: rpal_stress on each of these kernels, for MINUTES each,
# from SEED or one of its own.

. "$(dirname "$0")/common.sh"

(($#)) || die "usage: stress.sh FLAVOUR..."
begin=$SECONDS
"$HERE/setup.sh"
"$HERE/user.sh" selftests
for flavour; do
	kernel "$flavour"
done
say BUILT "after $(((SECONDS - begin) / 60)) min $(((SECONDS - begin) % 60)) s"
exec "$HERE/enter" env "MINUTES=${MINUTES:-}" "SEED=${SEED:-}" "SERVICES=${SERVICES:-}" python3 "$HERE/stress.py" "$@"
