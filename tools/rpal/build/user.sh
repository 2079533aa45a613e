#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds what runs in the guest: the cargo workspace of tools/rpal (library,
# launcher, samples), and the selftests, installed in build/kselftest.
# user.sh [crates|selftests]: only these.

. "$(dirname "$0")/common.sh"

WORKSPACE=$REPO/tools/rpal

# The one step that needs the network; afterwards cargo is told to stay off it.
fetch() {
	local lock=$1/Cargo.lock id
	id=$(sha256sum <"$lock")
	stamp_ok "fetch-$2" "$id" && return
	say FETCH "crates of ${1#"$REPO/"}"
	"$HERE/enter" cargo fetch --locked --manifest-path "$1/Cargo.toml" >"$BUILD/log/fetch-$2.log" 2>&1 ||
		die "cargo could not fetch what ${lock#"$REPO/"} names, see $BUILD/log/fetch-$2.log (is the network up?)"
	stamp_set "fetch-$2" "$id"
}

crates() {
	fetch "$WORKSPACE" tools
	fetch "$REPO/tools/testing/rpal-host" host
	"$HERE/enter" cargo build -q --release --locked --offline --workspace --bins \
		--manifest-path "$WORKSPACE/Cargo.toml" || die "the userspace crates do not build"
}

# The library's tests with real services, for the guest: the host has no RPAL.
live() {
	local program
	program=$("$HERE/enter" cargo test -q --release --locked --offline --no-run --message-format=json \
		--manifest-path "$WORKSPACE/Cargo.toml" -p rpal --test live |
		sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
	[[ -x $program ]] || die "the userspace library's tests do not build"
	install "$program" "$BUILD/target/release/rpal-live"
}

selftests() {
	local headers=$BUILD/obj-release
	# Against this tree's headers, as the kernel's own kselftest target does.
	"$HERE/kmake.sh" release -s headers
	lock_tree "$SRC"
	"$HERE/enter" make -s --no-print-directory -C "$SRC/tools/testing/selftests" -j"$JOBS" TARGETS=rpal \
		O="$headers" KHDR_INCLUDES="-isystem $headers/usr/include" "LLVM=-$LLVM_MAJOR" \
		FORCE_TARGETS=1 INSTALL_PATH="$BUILD/kselftest" install >"$BUILD/log/kselftest.log" 2>&1 ||
		die "the selftests do not build: $(grep -m1 -E 'error|\*\*\*' "$BUILD/log/kselftest.log" || echo "see $BUILD/log/kselftest.log")"
}

if [[ ${1:-} == crates ]]; then "$HERE/setup.sh" tools; else "$HERE/setup.sh"; fi
mkdir -p "$BUILD/log"
lock user
case ${1:-all} in
crates) crates ;;
selftests) selftests ;;
all)
	crates
	live
	selftests
	;;
esac
