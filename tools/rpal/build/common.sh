# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Sourced by every script here: where things are, and how to say what went
# wrong. Runs on a machine that has nothing but bash, coreutils, git, make and
# apt: the rest is used only behind `enter`.

set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
REPO=$(cd "$HERE/../../.." && pwd -P)
BUILD=$REPO/build
ROOT=$BUILD/root
PRISTINE=$BUILD/pristine	# the kernel source as published
SRC=$BUILD/linux		# the same with patches and overlay
STAMPS=$BUILD/stamps
SERIES=7.3
SUITE=trixie
LLVM_MAJOR=19
JOBS=${JOBS:-$(nproc)}
export HERE REPO BUILD ROOT PRISTINE SRC STAMPS SERIES SUITE LLVM_MAJOR JOBS

# Messages of tools are matched in places, and a locale of the host's need not
# exist in the root.
export LC_ALL=C.UTF-8

say() { printf '  %-8s %s\n' "$1" "${*:2}" >&2; }
die() { printf 'rpal: error: %s\n' "$*" >&2; exit 1; }

# A step's inputs are hashed; its stamp holds the hash that it was made from,
# and is written last, so that a step cut short is done again.
stamp_ok() { [[ -f $STAMPS/$1 && $(<"$STAMPS/$1") == "$2" ]]; }
stamp_set() {
	mkdir -p "$STAMPS"
	printf '%s\n' "$2" >"$STAMPS/$1.tmp"
	mv "$STAMPS/$1.tmp" "$STAMPS/$1"
}
stamp_drop() { rm -f "$STAMPS/$1"; }

# need_space GiB: a full disk half way looks like a compiler's fault.
need_space() {
	local avail
	mkdir -p "$BUILD"
	avail=$(df -Pk "$BUILD" | awk 'NR == 2 { print int($4 / 1048576) }')
	((avail >= $1)) ||
		die "only $avail GiB free on the file system of $BUILD, $1 GiB are needed: free some space, or make build/ a link to a larger disk"
}

# kernel FLAVOUR: builds its image, and shows how far it is: minutes of silence
# look like a hang, and a thousand lines hide the warnings.
kernel() {
	say KERNEL "$1"
	"$HERE/kmake.sh" "$1" bzImage | awk -v f="$1" '
		/^  [A-Z]/ { if (++n % 100 == 0) { printf "  %-8s %s: %d steps\n", "KERNEL", f, n; fflush() } next }
		/^(Kernel: |make)/ { next }
		{ print; fflush() }' >&2 || die "the $1 kernel does not build"
}

# One step of a kind at a time, however many makes are running.
lock() {
	mkdir -p "$BUILD"
	exec {LOCK_FD}>"$BUILD/.lock-$1"
	flock -n "$LOCK_FD" && return
	say WAIT "another make is busy with: $1"
	flock "$LOCK_FD"
}
# Each flavour has a tree, so that a long build of one does not hold up changes
# to another; all are compiled at build/linux, where `enter` shows them. Stock
# is the source as published, and nobody changes it.
tree_of() {
	case $1 in
	release) echo "$SRC" ;;
	stock) echo "$PRISTINE" ;;
	*) echo "$SRC-$1" ;;
	esac
}
# Held while something compiles a tree: overlay.py waits for it.
lock_tree() { exec {TREE_FD}>>"$1.lock"; flock -s "$TREE_FD"; }
unlock() { exec {LOCK_FD}>&-; }
