#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Shows that with CONFIG_RPAL=n the patches change nothing: each object that
# they touch, and objects that use the headers they touch, disassembles to what
# the published source gives with the same configuration.

. "$(dirname "$0")/common.sh"

"$HERE/setup.sh" off
lock check-off
PATCHED=$(tree_of off)
lock_tree "$PATCHED"

frags=("$REPO"/rpal/configs/{common,release}.config)
asked=$BUILD/obj-off.asked
# RPAL's own symbols do not exist in the published source.
"$HERE/enter" python3 "$HERE/config.py" merge "${frags[@]}" | grep -v RPAL >"$asked.new"
cmp -s "$asked.new" "$asked" || mv "$asked.new" "$asked"

# Both trees are built at one path, the other's: no command line, no file name
# in an object can differ but by what is in the source.
off_make() {
	local tree=$1 which=$2
	shift 2
	mkdir -p "$BUILD/obj-off-$which" "$BUILD/obj-off"
	"$HERE/enter" -b "$tree:$SRC" -b "$BUILD/obj-off-$which:$BUILD/obj-off" \
		make -s --no-print-directory -C "$SRC" O="$BUILD/obj-off" "LLVM=-$LLVM_MAJOR" -j"$JOBS" \
		CC="ccache clang-$LLVM_MAJOR" KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=rpal KBUILD_BUILD_HOST=rpal "$@"
}

# One list of objects for both trees, from what the patches name.
mapfile -t objects < <("$HERE/enter" python3 "$HERE/check_off.py" list "$REPO" "$PRISTINE")
((${#objects[@]})) || die "patches/ touches nothing that is compiled"
echo "check-off: ${#objects[@]} objects, CONFIG_RPAL=n against the published source"

for which in stock patched; do
	tree=$PRISTINE
	[[ $which == patched ]] && tree=$PATCHED
	[[ -f $BUILD/obj-off-$which/.config && ! $asked -nt $BUILD/obj-off-$which/.config ]] || {
		say CONFIG "off, $which"
		off_make "$tree" "$which" KCONFIG_ALLCONFIG="$asked" allnoconfig >/dev/null
	}
	off_make "$tree" "$which" olddefconfig >/dev/null
	say BUILD "off, $which"
	# An object that this configuration does not have is none of stock's either.
	off_make "$tree" "$which" -k "${objects[@]}" >"$BUILD/log/check-off-$which.log" 2>&1 || true
done
exec "$HERE/enter" python3 "$HERE/check_off.py" compare "$BUILD" "$LLVM_MAJOR" "${objects[@]}"
