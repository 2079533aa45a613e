#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# kmake.sh FLAVOUR [ARGUMENT...]: the kernel's make, on build/linux with the
# objects in build/obj-FLAVOUR.

. "$(dirname "$0")/common.sh"

flavour=$1
shift
obj=$BUILD/obj-$flavour

"$HERE/setup.sh" "$flavour"
lock "obj-$flavour"
path=$obj
tree=$(tree_of "$flavour")
binds=
[[ $tree == "$SRC" ]] || binds="$tree:$SRC"
case $flavour in
noflush | lint | mutant)
	# One option, compiler driver or mistake away from release: start from its
	# objects, and build at release's path, which commands and dependencies
	# hold, so that only what differs is compiled.
	if ! [[ -f $STAMPS/seed-$flavour ]]; then
		[[ -f $BUILD/obj-release/vmlinux ]] || "$HERE/kmake.sh" release -s bzImage
		say COPY "release's objects for $flavour"
		need_space 2
		rm -rf "$obj"
		cp -a --reflink=auto "$BUILD/obj-release" "$obj"
		stamp_drop "config-$flavour"
		stamp_set "seed-$flavour" yes
	fi
	path=$BUILD/obj-release
	binds+=" $obj:$path"
	;;
esac
lock_tree "$tree"
export RPAL_BINDS=$binds
"$HERE/config.sh" "$flavour"
[[ -d $obj/kernel ]] || need_space 3

# Fixed, so that nothing is built again for the clock's or the host's sake.
kernel_make() {
	"$HERE/enter" make --no-print-directory -C "$SRC" O="$path" "LLVM=-$LLVM_MAJOR" -j"$JOBS" \
		CC="ccache clang-$LLVM_MAJOR" \
		KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=rpal KBUILD_BUILD_HOST=rpal "$@"
}

kernel_make "$@"
if [[ " $* " == *" rust-analyzer "* ]]; then
	# What is edited is the repository, not the copy that is compiled.
	sed "s|$SRC/rpal/|$REPO/rpal/|g" "$path/rust-project.json" >"$BUILD/rust-project.json"
	say DONE "build/rust-project.json"
fi
