#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# overlay.sh [FLAVOUR]: brings a flavour's tree up to date: the kernel source,
# the patches and our files; for the flavour "mutant", with RPAL_MUTANT in it.

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
args=()
[[ $id == ksrc* ]] && args=(--follow)
[[ $flavour != mutant || -z ${RPAL_MUTANT:-} ]] || args+=(--mutant "$RPAL_MUTANT")
"$HERE/enter" python3 "$HERE/overlay.py" "$REPO" "$PRISTINE" "$tree" "${args[@]}"
