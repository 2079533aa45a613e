#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# upstream.sh: the kernel's own selftests on the published kernel and on ours
# (see upstream.py). They are compiled once, in a copy of what they need of the
# published source, since some write beside it.

. "$(dirname "$0")/common.sh"

COPY=$BUILD/upstream/src
LIST=$REPO/tools/testing/rpal-upstream/programs
HARNESS=tools/testing/selftests/kselftest_harness.h

programs() {
	local dir dirs
	# Compiled against the headers that both kernels have.
	"$HERE/kmake.sh" stock -s headers
	lock upstream
	mkdir -p "$COPY"
	"$HERE/enter" rsync -aR "$PRISTINE/./"{tools/{include,arch,testing/selftests},include/vdso,arch/x86/include/asm,samples/check-exec,mm/gup_test.h,lib/test_hmm_uapi.h,scripts/subarch.include} \
		"$COPY/"
	"$HERE/enter" rsync -a "$BUILD/obj-stock/usr/include" "$COPY/usr/"
	# 30 s for a test is short where a core of 128 threads is written by a slow
	# guest. Its date stays, so that nothing is compiled again for it.
	"$HERE/enter" sed -i 's/^\(#define TEST_TIMEOUT_DEFAULT\) 30$/\1 120/' "$COPY/$HARNESS"
	"$HERE/enter" touch -r "$PRISTINE/$HARNESS" "$COPY/$HARNESS"
	mapfile -t dirs < <(sed -n 's/^\([^-# :][^# :]*\):.*/\1/p' "$LIST" | sort -u)
	say TESTS "${dirs[*]}"
	: >"$BUILD/log/upstream.log"
	: >"$BUILD/upstream/all"
	for dir in "${dirs[@]}"; do
		# What does not compile here is missing on both kernels, and the table says so.
		"$HERE/enter" make -k --no-print-directory -C "$COPY/tools/testing/selftests/$dir" -j"$JOBS" all \
			>>"$BUILD/log/upstream.log" 2>&1 || say NOTE "not all of $dir compiles, see build/log/upstream.log"
		"$HERE/enter" make -s --no-print-directory -C "$COPY/tools/testing/selftests/$dir" emit_tests COLLECTION="$dir" \
			2>>"$BUILD/log/upstream.log" | grep "^$dir:" >>"$BUILD/upstream/all"
	done
	unlock
}

"$HERE/setup.sh"
need_space 6
kernel release
kernel stock
"$HERE/user.sh" crates
programs
exec "$HERE/enter" python3 "$HERE/upstream.py"
