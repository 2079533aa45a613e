#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# lint.sh: every check of form, each reported, none stopping the others.
# lint.sh CHECK...: only those. lint.sh rustfmt: formats instead of checking.

. "$(dirname "$0")/common.sh"

"$HERE/setup.sh" lint
SRC=$(tree_of lint)
mkdir -p "$BUILD/log"
cd "$REPO"

# Files of ours by kind. What is not committed yet counts as well.
ours() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [[ -f $f ]] && echo "$f"; done; }
kernel_rust() { ours 'rpal/*.rs' 'rust/*.rs'; }
crates() { ours '*/Cargo.toml' | while read -r f; do grep -q '^\[workspace\]' "$f" && echo "$f"; done; }
scripts() {
	ours | while read -r f; do
		case $f in *.sh) echo "$f" ;; *) head -c 64 "$f" | head -n 1 | grep -aqE '^#!.*\b(ba|busybox )?sh\b' && echo "$f" ;; esac
	done
}

run_rustfmt() {
	local files
	mapfile -t files < <(kernel_rust)
	((${#files[@]} == 0)) ||
		"$HERE/enter" rustfmt "$@" --edition 2021 --config-path "$SRC/.rustfmt.toml" --config skip_children=true --unstable-features "${files[@]}" 2>/dev/null ||
		"$HERE/enter" rustfmt "$@" --edition 2021 --config-path "$SRC/.rustfmt.toml" "${files[@]}" || return 1
	local f
	for f in $(crates); do
		"$HERE/enter" cargo fmt --all --manifest-path "$f" ${1:+-- "$1"} || return 1
	done
}

check_rustfmt() { run_rustfmt --check; }

check_clippy() {
	# Warnings do not fail a kernel build; here they do. Objects that clippy
	# has passed are not looked at again, so that ours are made anew.
	rm -f "$BUILD"/obj-lint/rpal/*.o "$BUILD"/obj-lint/rust/kernel.o
	"$HERE/kmake.sh" lint CLIPPY=1 -s rpal/ >"$BUILD/log/clippy-kernel.log" 2>&1 || {
		cat "$BUILD/log/clippy-kernel.log"
		return 1
	}
	if grep -qE '^(warning|error)' "$BUILD/log/clippy-kernel.log"; then
		cat "$BUILD/log/clippy-kernel.log"
		return 1
	fi
	local f
	for f in $(crates); do
		"$HERE/enter" cargo clippy -q --release --locked --offline --workspace --all-targets --manifest-path "$f" -- -D warnings || return 1
	done
}

check_checkpatch() {
	local bad=0 f added
	# To be read in one sitting.
	added=$(cat patches/*.patch | grep -cE '^\+([^+]|$)')
	((added <= 250)) || { echo "the hooks have $added added lines, more than 250"; bad=1; }
	# A patch here has a description and no author's sign-off, and a new file is
	# no reason to touch MAINTAINERS, which is not ours.
	# From standard input: a file in a git tree is taken for source otherwise.
	for f in $(ours 'patches/*.patch'); do
		"$HERE/enter" env GIT_DIR=/none perl "$SRC/scripts/checkpatch.pl" --root="$SRC" --strict --quiet --no-signoff --ignore FILE_PATH_CHANGES,EMBEDDED_FILENAME - <"$f" ||
			{ echo "in $f"; bad=1; }
	done
	for f in $(ours 'include/*.h' 'rpal/*.[chS]' 'rust/*.[ch]' 'tools/testing/*.[chS]' 'samples/*.[ch]' 'tools/rpal/*.[ch]'); do
		"$HERE/enter" env GIT_DIR=/none perl "$SRC/scripts/checkpatch.pl" --root="$SRC" --strict --quiet --terse --show-types -f "$f" || bad=1
	done
	return $bad
}

check_rustdoc() {
	local f
	for f in $(crates); do
		"$HERE/enter" env RUSTDOCFLAGS="-D warnings" cargo doc -q --locked --offline --workspace --no-deps --manifest-path "$f" || return 1
	done
	"$HERE/kmake.sh" lint -s rustdoc >"$BUILD/log/rustdoc-kernel.log" 2>&1 || {
		tail -n 30 "$BUILD/log/rustdoc-kernel.log"
		return 1
	}
	! grep -E '^(warning|error)' -A 8 "$BUILD/log/rustdoc-kernel.log"
}

check_sphinx() {
	"$HERE/enter" sh -c 'command -v sphinx-build' >/dev/null || { echo "no sphinx-build"; return 77; }
	local dir=$BUILD/sphinx f
	rm -rf "$dir"
	mkdir -p "$dir/in"
	for f in $(ours 'Documentation/*.rst'); do
		mkdir -p "$dir/in/$(dirname "$f")"
		cp "$f" "$dir/in/$f"
	done
	# Ours alone: the kernel's whole documentation takes half an hour.
	{
		printf 'RPAL\n====\n\n.. toctree::\n\n'
		(cd "$dir/in" && find Documentation -name '*.rst' | sed 's/\.rst$//; s/^/   /')
	} >"$dir/in/index.rst"
	cat >"$dir/in/conf.py" <<-EOF
		import sys
		sys.path.insert(0, "$SRC/Documentation/sphinx")
		project = "RPAL"
		highlight_language = "none"
	EOF
	"$HERE/enter" sphinx-build -q -n -W --keep-going -b html "$dir/in" "$dir/out"
}

check_shellcheck() {
	"$HERE/enter" sh -c 'command -v shellcheck' >/dev/null || { echo "no shellcheck"; return 77; }
	local files
	mapfile -t files < <(scripts)
	((${#files[@]} == 0)) || "$HERE/enter" shellcheck -S warning -x -P SCRIPTDIR "${files[@]}"
}

check_spdx() {
	# Licence texts, what a tool writes, and files whose format has no comments.
	local f bad=0
	for f in $(ours | grep -vE '^LICENSES/|Cargo\.lock$|selftests/rpal/(config|settings|[a-z]+-tests)$'); do
		head -n 5 "$f" | grep -q 'SPDX-License-Identifier:' || { echo "$f: no SPDX-License-Identifier"; bad=1; }
	done
	return $bad
}

# They are to be of the kernel as it is, and nothing builds them every day.
check_mutants() { "$HERE/enter" python3 "$HERE/mutants.py" check "$SRC"; }

check_hazards() { "$HERE/enter" python3 "$HERE/hazards.py"; }

case ${1:-} in
rustfmt) run_rustfmt; exit ;;
rustfmtcheck) set -- rustfmt ;;
esac
(($#)) || set -- spdx shellcheck rustfmt checkpatch mutants hazards clippy rustdoc sphinx
failed=0
for check; do
	status=0
	log=$BUILD/log/lint-$check.log
	# In a condition bash forgets -e; each check returns what it found.
	"check_$check" >"$log" 2>&1 || status=$?
	case $status in
	0) echo "ok $check" ;;
	77) echo "ok $check # SKIP $(tail -n 1 "$log")" ;;
	*)
		echo "not ok $check"
		head -n 60 "$log" | sed 's/^/    /'
		failed=$((failed + 1))
		;;
	esac
done
((failed == 0)) || die "$failed of $# checks failed; whole logs are build/log/lint-*.log"
