#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# overlay.sh [FLAVOUR]: brings a flavour's tree up to date: the kernel source,
# the patches and our files.

. "$(dirname "$0")/common.sh"

flavour=${1:-release}
tree=$(tree_of "$flavour")
lock "overlay-$flavour"
id=$(<"$STAMPS/source")
stamp_ok "tree-$flavour" "$id" || {
	need_space 3
	say TREE "${tree#"$REPO/"}"
	stamp_drop "tree-$flavour"
	rm -rf "$tree" "$tree.tmp" "$tree.manifest"
	# Links cost neither time nor space; overlay.py replaces and never writes into them.
	from=$PRISTINE
	if [[ $flavour != release ]]; then
		# Release's, with its times, which objects copied from it depend on.
		"$HERE/overlay.sh" release
		from=$SRC
		cp "$SRC.manifest" "$tree.manifest"
	fi
	cp -al "$from" "$tree.tmp"
	mv "$tree.tmp" "$tree"
	stamp_set "tree-$flavour" "$id"
}
follow=()
[[ $id == ksrc* ]] && follow=(--follow)
"$HERE/enter" python3 "$HERE/overlay.py" "$REPO" "$PRISTINE" "$tree" "${follow[@]}"
