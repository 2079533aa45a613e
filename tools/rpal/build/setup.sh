#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Gets the tools, the kernel source and the tree to build. Does nothing that
# has been done, so that every target can start with it. setup.sh tools: only
# the tools. setup.sh FLAVOUR: that flavour's tree.

. "$(dirname "$0")/common.sh"

# What a build needs of a host. Anything short of all of it means a root.
host_has_all() {
	local t
	for t in clang-$LLVM_MAJOR ld.lld-$LLVM_MAJOR rustc bindgen cargo rustfmt make flex bison bc perl \
		python3 rsync patch cpio xz ccache qemu-system-x86_64 busybox gcc; do
		command -v "$t" >/dev/null || return 1
	done
	[[ -f /usr/include/gelf.h && -f /usr/include/openssl/ssl.h ]]
}

choose_tools() {
	local had
	had=$(cat "$STAMPS/tools" 2>/dev/null || true)
	[[ $had == host || ($had == root && -d $ROOT) ]] && ! [[ ${RPAL_TOOLS:-$had} != "$had" ]] && {
		[[ $had == root ]] && "$HERE/root.sh"
		return 0
	}
	if [[ ${RPAL_TOOLS:-host} == host ]] && host_has_all; then
		stamp_set tools host
		"$HERE/source.sh"
		# The kernel's own word decides.
		"$HERE/enter" make -s -C "$PRISTINE" "LLVM=-$LLVM_MAJOR" rustavailable >/dev/null 2>&1 && {
			say TOOLS "the host's own"
			return
		}
		say TOOLS "the kernel does not accept this host's Rust tools"
		stamp_drop tools
		stamp_drop source
	fi
	"$HERE/root.sh"
	stamp_set tools root
}

mkdir -p "$BUILD" "$STAMPS" "$BUILD/log"
lock setup
choose_tools
unlock
# What is built from this repository alone needs no kernel source.
[[ ${1:-} == tools ]] && exit
"$HERE/source.sh"
[[ ${1:-} == stock ]] || "$HERE/overlay.sh" "${1:-release}"
