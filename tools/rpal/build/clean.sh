#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# clean.sh [all]: removes what was built; with "all" what was fetched as well.

. "$(dirname "$0")/common.sh"

[[ -d $BUILD ]] || exit 0
if [[ ${1:-} == all ]]; then
	"$HERE/root.sh" drop
	# build/ may be a link to a larger disk, which stays.
	rm -rf --one-file-system "${BUILD:?}"/* "$BUILD"/.lock-*
	[[ -L $BUILD ]] || rmdir "$BUILD"
	exit
fi
rm -rf "$BUILD"/obj-* "$BUILD"/run "$BUILD"/results "$BUILD"/target "$BUILD"/kselftest* "$BUILD"/log
rm -f "$STAMPS"/config-* "$STAMPS"/seed-*
