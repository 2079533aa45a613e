#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Brings build/linux up to date: the kernel source, the patches and our files.

. "$(dirname "$0")/common.sh"

lock overlay
id=$(<"$STAMPS/source")
stamp_ok tree "$id" || {
	need_space 3
	say TREE "build/linux"
	stamp_drop tree
	rm -rf "$SRC" "$SRC.tmp" "$SRC.manifest"
	# Links cost neither time nor space; overlay.py replaces and never writes into them.
	cp -al "$PRISTINE" "$SRC.tmp"
	mv "$SRC.tmp" "$SRC"
	stamp_set tree "$id"
}
follow=()
[[ $id == ksrc* ]] && follow=(--follow)
"$HERE/enter" python3 "$HERE/overlay.py" "$REPO" "$PRISTINE" "$SRC" "${follow[@]}"
