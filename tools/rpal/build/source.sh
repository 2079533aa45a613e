#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Lays the kernel source in build/pristine: Debian's, or a copy of the tree
# that KSRC= names, which is itself never written to.

. "$(dirname "$0")/common.sh"

TARBALL=/usr/src/linux-source-$SERIES.tar.xz

# The patches are made against one series, and their failing to apply to
# another would be a riddle.
check_series() {
	local version
	[[ -f $1/Makefile && -f $1/Kbuild ]] || die "$1 is not a kernel source tree"
	version=$(awk -F' *= *' '$1 == "VERSION" { v = $2 } $1 == "PATCHLEVEL" { print v "." $2; exit }' "$1/Makefile")
	[[ $version == "$SERIES" ]] ||
		die "$1 is Linux $version, the patches are for $SERIES: give a $SERIES tree with KSRC=, or none for Debian's"
}

from_debian() {
	local tarball=$ROOT$TARBALL id
	[[ $(cat "$STAMPS/tools" 2>/dev/null) == host ]] && tarball=$BUILD/dl$TARBALL
	[[ -f $tarball ]] || tarball=$(host_download)
	id="debian $(stat -Lc '%s %Y' "$tarball")"
	stamp_ok source "$id" && [[ -f $PRISTINE/Makefile ]] && return
	need_space 5
	say UNPACK "linux-source-$SERIES"
	stamp_drop source
	rm -rf "$PRISTINE" "$PRISTINE.tmp"
	mkdir -p "$PRISTINE.tmp"
	"$HERE/enter" tar -C "$PRISTINE.tmp" --strip-components=1 --no-same-owner -xJf "${tarball#"$ROOT"}" ||
		die "the kernel source did not unpack, disk full?"
	check_series "$PRISTINE.tmp"
	mv "$PRISTINE.tmp" "$PRISTINE"
	stamp_set source "$id"
}

# With the host's own tools there is no root that would hold the source. Its
# apt fetches it by lists of its own, and the host's are left alone.
host_download() {
	local apt=$BUILD/dl/apt uri
	local opts=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=-"
		-o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache"
		-o "Debug::NoLocking=1" -o "APT::Sandbox::User=")
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$BUILD/log"
	# shellcheck disable=SC2016 # these are apt's
	uri=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 2>/dev/null |
		awk -v s="$SUITE" '$2 == s { print $1; exit }')}
	[[ -n $uri ]] || die "apt has no source for $SUITE: give one with MIRROR=, or a kernel tree with KSRC="
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $SUITE-backports main" >"$apt/sources.list"
	say FETCH "linux-source-$SERIES"
	{ apt-get "${opts[@]}" update &&
		(cd "$BUILD/dl" && apt-get "${opts[@]}" download "linux-source-$SERIES" &&
			dpkg-deb -x linux-source-*.deb .); } >"$BUILD/log/source.log" 2>&1 ||
		die "could not fetch linux-source-$SERIES, see $BUILD/log/source.log"
	echo "$BUILD/dl$TARBALL"
}

from_user() {
	local tree
	tree=$(readlink -f "$KSRC") || die "KSRC=$KSRC: no such directory"
	check_series "$tree"
	need_space 5
	stamp_ok source "ksrc $tree" || {
		say COPY "$tree"
		stamp_drop source
	}
	# A tree that was built in place must look clean to O= builds. Times are
	# kept, so that only what changed there is built again here.
	mkdir -p "$PRISTINE"
	"$HERE/enter" -b "$tree:/mnt" rsync -a --delete --exclude=/.git --exclude=/.config --exclude=/include/config \
		--exclude=/include/generated --exclude='/arch/*/include/generated' --exclude='*.o' --exclude='*.cmd' \
		/mnt/ "$PRISTINE/" || die "copying $tree failed"
	stamp_set source "ksrc $tree"
}

lock source
if [[ -n ${KSRC:-} ]]; then from_user; else from_debian; fi
