#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# kmake.sh FLAVOUR [ARGUMENT...]: the kernel's make, on build/linux with the
# objects in build/obj-FLAVOUR.

. "$(dirname "$0")/common.sh"

flavour=$1
shift
obj=$BUILD/obj-$flavour

"$HERE/setup.sh"
lock "obj-$flavour"
binds=()
if [[ $flavour == noflush ]]; then
	# One option away from release, so it starts from release's objects and
	# is built at release's path, which commands and dependencies hold.
	if ! [[ -f $STAMPS/noflush-seed ]]; then
		[[ -f $BUILD/obj-release/vmlinux ]] || "$HERE/kmake.sh" release bzImage
		say COPY "release's objects for noflush"
		need_space 2
		rm -rf "$obj"
		cp -a --reflink=auto "$BUILD/obj-release" "$obj"
		stamp_set noflush-seed yes
	fi
	binds=(-b "$obj:$BUILD/obj-release")
fi
"$HERE/config.sh" "$flavour"
[[ -d $obj/kernel ]] || need_space 3

# Fixed, so that nothing is built again for the clock's or the host's sake.
exec "$HERE/enter" "${binds[@]}" make --no-print-directory -C "$SRC" O="$BUILD/obj-${flavour/noflush/release}" "LLVM=-$LLVM_MAJOR" -j"$JOBS" \
	CC="ccache clang-$LLVM_MAJOR" \
	KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=rpal KBUILD_BUILD_HOST=rpal "$@"
