#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# config.sh FLAVOUR: makes build/obj-FLAVOUR/.config, unless there is one from
# the same inputs. One that was changed by hand (menuconfig) is kept, and only
# brought up to date, until rpal/configs/ says something else.

. "$(dirname "$0")/common.sh"

flavour=$1
obj=$BUILD/obj-$flavour
dir=$REPO/rpal/configs

# A flavour is a list of fragments. "lint" is release, compiled by clippy, and
# "mutant" is release with a mistake in its source.
case $flavour in
release | lint | mutant) frags=(common release) ;;
debug) frags=(common debug) ;;
kcsan) frags=(common kcsan) ;;
noflush) frags=(common release noflush) ;;
features) frags=(common release features) ;;
stock) frags=(common release stock) ;;
*) die "no kernel flavour $flavour: release, debug, kcsan, noflush, features, stock, mutant or lint" ;;
esac
frags=("${frags[@]/#/$dir/}")
frags=("${frags[@]/%/.config}")

mkdir -p "$obj"
asked=$(cat "${frags[@]}" | sha256sum)
kconfigs=$(cd "$(tree_of "$flavour")" && { find rpal -name 'Kconfig*' -exec cat {} + 2>/dev/null || true; } | cat - Kconfig* arch/x86/Kconfig 2>/dev/null | sha256sum)

kconf() {
	"$HERE/enter" make -s -C "$SRC" O="$obj" "LLVM=-$LLVM_MAJOR" "$@" >"$BUILD/log/config-$flavour.log" 2>&1 ||
		die "configuring $flavour failed: $(grep -m1 -iE 'error|\*\*\*' "$BUILD/log/config-$flavour.log" || echo "see $BUILD/log/config-$flavour.log")"
}

if [[ -f $obj/.config ]] && stamp_ok "config-$flavour" "$asked $kconfigs"; then
	exit 0
elif [[ -f $obj/.config ]] && stamp_ok "config-$flavour-asked" "$asked" &&
	! stamp_ok "config-$flavour-made" "$(sha256sum <"$obj/.config")"; then
	say CONFIG "$flavour: yours, brought up to date"
	kconf olddefconfig
else
	say CONFIG "$flavour"
	"$HERE/enter" python3 "$HERE/config.py" merge "${frags[@]}" >"$obj/.config.asked"
	stamp_drop "config-$flavour-made"
	kconf KCONFIG_ALLCONFIG="$obj/.config.asked" allnoconfig
	"$HERE/enter" python3 "$HERE/config.py" check "$obj/.config" "$obj/.config.asked" || {
		# Nothing that looks configured is left behind.
		rm -f "$obj/.config"
		exit 1
	}
	stamp_set "config-$flavour-made" "$(sha256sum <"$obj/.config")"
fi
stamp_set "config-$flavour-asked" "$asked"
stamp_set "config-$flavour" "$asked $kconfigs"
