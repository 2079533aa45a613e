#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# boot.sh FLAVOUR [run]: a shell in the guest, or the command in RPAL_CMD.
# The kernel and the programs are brought up to date first.

. "$(dirname "$0")/common.sh"

flavour=$1
args=(--flavour "$flavour")
# shellcheck disable=SC2206 # words on purpose
args+=(${RPAL_GUEST:-})
if [[ ${2:-} == run ]]; then
	[[ -n ${RPAL_CMD:-} ]] || die "usage: make run CMD='command'"
	args+=(-- "$RPAL_CMD")
fi
"$HERE/kmake.sh" "$flavour" -s bzImage >&2
"$HERE/user.sh" >&2
exec "$HERE/enter" python3 "$HERE/guest.py" "${args[@]}"
