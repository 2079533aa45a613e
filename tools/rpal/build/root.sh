#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes the build root: a Debian trixie with the packages that ./packages
# lists and the kernel source, in build/root. About two minutes, once.
#
# MIRROR= names a Debian mirror; without it mmdebstrap's default is used.

. "$(dirname "$0")/common.sh"

# What decides whether a root that is there can be kept.
root_hash() { cat "$HERE/packages" <(echo "$SUITE $SERIES") | sha256sum | cut -d' ' -f1; }

get_mmdebstrap() {
	command -v mmdebstrap >/dev/null && return
	((EUID == 0)) || die "mmdebstrap is not installed; run: sudo apt-get install mmdebstrap uidmap"
	command -v apt-get >/dev/null ||
		die "no apt-get here: install mmdebstrap, or the tools that '$HERE/packages' lists"
	say APT "installing mmdebstrap"
	# The lists of a fresh machine are empty or old.
	{ apt-get -q update &&
		DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends mmdebstrap; } \
		>"$BUILD/log/apt.log" 2>&1 ||
		die "apt-get could not install mmdebstrap, see $BUILD/log/apt.log (is the network up?)"
}

# An ordinary user's root is made in a user namespace, which has needs of its
# own. Say so before anything is downloaded.
check_unshare() {
	local user
	user=$(id -un)
	command -v newuidmap >/dev/null ||
		die "newuidmap is not installed; run: sudo apt-get install mmdebstrap uidmap"
	{ grep -qs "^$user:" /etc/subuid && grep -qs "^$user:" /etc/subgid; } ||
		die "no subordinate ids for $user; run: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user"
	unshare --user --map-auto --map-root-user --mount true 2>/dev/null ||
		die "user namespaces are switched off here; run: sudo sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
}

drop_root() {
	[[ -e $1 ]] || return 0
	# What is mounted there is shared with somebody, and was made elsewhere.
	! mountpoint -q "$1" || die "$1 is a mount point: it is not removed, and a root is not made in its place"
	if ((EUID == 0)); then
		rm -rf --one-file-system "$1"
	else
		unshare --user --map-auto --map-root-user rm -rf --one-file-system "$1"
	fi
}

make_root() {
	local hash mode=root packages
	hash=$(root_hash)
	stamp_ok root "$hash" && [[ -d $ROOT ]] &&
		[[ -n ${KSRC:-} || -f $ROOT/usr/src/linux-source-$SERIES.tar.xz ]] && return
	mkdir -p "$BUILD/log"
	((EUID == 0)) || { mode=unshare; command -v mmdebstrap >/dev/null && check_unshare; }
	get_mmdebstrap
	need_space 8
	stamp_drop root
	drop_root "$ROOT.tmp"
	drop_root "$ROOT"
	packages=$(grep -v '^#' "$HERE/packages" | paste -sd,)
	say ROOT "Debian $SUITE with compilers and QEMU in build/root (about 700 MB to download)"
	# With a tree of the user's own, Debian may have no such source any more.
	[[ -n ${KSRC:-} ]] || packages+=,linux-source-$SERIES
	local args=(--mode="$mode" --variant=minbase --components=main
		--include="$packages"
		--aptopt='APT::Install-Recommends "false"')
	# The kernel source is in backports alone; everything else stays at the
	# suite's own version, since backports is never preferred by itself.
	# shellcheck disable=SC2016 # mmdebstrap's shell expands $1
	args+=(--setup-hook='l="$1"/etc/apt/sources.list; sed -n "s/ '"$SUITE"' / '"$SUITE"'-backports /p" "$l" | head -n 1 >>"$l"')
	if [[ $mode == root ]]; then
		mmdebstrap "${args[@]}" "$SUITE" "$ROOT.tmp" ${MIRROR:+"$MIRROR"} 2>&1 | tee "$BUILD/log/root.log" >&2
	else
		# Its user namespace is not the one that `enter` will use, and may
		# not even get at a directory below a private home.
		mkdir -p "$ROOT.tmp"
		TMPDIR=/var/tmp mmdebstrap "${args[@]}" "$SUITE" - ${MIRROR:+"$MIRROR"} 2> >(tee "$BUILD/log/root.log" >&2) |
			unshare --user --map-auto --map-root-user tar -C "$ROOT.tmp" --exclude='./dev/*' -xf -
	fi || {
		! grep -q "Unable to locate package linux-source" "$BUILD/log/root.log" ||
			die "$SUITE-backports has no linux-source-$SERIES: give a Linux $SERIES tree with KSRC="
		die "mmdebstrap failed, see $BUILD/log/root.log (no network? a mirror of yours can be given as MIRROR=)"
	}
	mv "$ROOT.tmp" "$ROOT"
	stamp_set root "$hash"
}

case ${1:-make} in
make) lock root; make_root ;;
drop) drop_root "$ROOT.tmp"; drop_root "$ROOT" ;;
*) die "usage: root.sh [make|drop]" ;;
esac
