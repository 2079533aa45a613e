#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Lays the patches and our directories over the kernel source.

overlay.py REPO PRISTINE TREE [--follow] [--mutant NAME]

TREE starts as a hard-linked copy of PRISTINE. Every run computes what each
touched file should hold and replaces the ones that differ, by a new file: a
link is never written through, and a file that is right keeps its time, so that
make builds again only what did change. The whole takes a second, so nothing
is cached that could be stale.
"""

import fcntl
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import mutation

# What of this repository is part of a kernel tree, and where it goes.
DIRS = ["include", "rpal", "rust", "samples", "tools", "Documentation", "LICENSES"]
FILES = {"Kconfig": "Kconfig.rpal"}
# How to build is no part of what is built.
SKIP_DIRS = {"tools/rpal/build", "tools/rpal/guest", "tools/testing/rpal-mutants"}
SKIP_NAMES = re.compile(r"(^target$|^\.|~$|\.(orig|rej|swp|pyc|o|cmd|d)$|^__pycache__$)")


def die(message):
    sys.exit(f"rpal: error: {message}")


def overlay_files(repo):
    """Path in the tree -> file of ours."""
    found = {}
    for top in DIRS:
        for path, dirs, files in os.walk(os.path.join(repo, top)):
            rel = os.path.relpath(path, repo)
            dirs[:] = sorted(
                d for d in dirs if not SKIP_NAMES.search(d) and os.path.join(rel, d) not in SKIP_DIRS
            )
            for name in files:
                full = os.path.join(path, name)
                # Tests that were built in place by hand leave programs here.
                if SKIP_NAMES.search(name) and name != ".gitignore":
                    continue
                with open(full, "rb") as file:
                    if file.read(4) == b"\x7fELF":
                        continue
                found[os.path.join(rel, name)] = full
    for name, to in FILES.items():
        if os.path.exists(os.path.join(repo, name)):
            found[to] = os.path.join(repo, name)
    return found


def refuse_ignored(repo, files):
    """What git ignores works here and is in no clone: say so while who wrote it is there."""
    if not shutil.which("git"):
        return
    run = subprocess.run(
        ["git", "-c", f"safe.directory={repo}", "-C", repo, "check-ignore", "--stdin"],
        input="\n".join(files), capture_output=True, text=True, check=False)
    if run.returncode == 0 and run.stdout:
        die(f"git ignores {run.stdout.splitlines()[0]}: name it in a .gitignore, or put it elsewhere")


def patched_files(repo, pristine, work):
    """Applies all patches to copies of the files that they name."""
    patches = os.path.join(repo, "patches")
    names = sorted(n for n in os.listdir(patches) if n.endswith(".patch")) if os.path.isdir(patches) else []
    touched = {}
    for name in names:
        with open(os.path.join(patches, name), encoding="utf-8") as file:
            text = file.read()
        targets = set()
        for line in text.splitlines():
            match = re.match(r"(?:\+\+\+ b|--- a)/(\S+)", line)
            if match:
                targets.add(match[1])
        if not targets:
            die(f"patches/{name} names no file: is it a unified diff with a/ and b/ paths?")
        for target in targets - touched.keys():
            copy = os.path.join(work, target)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            if os.path.exists(os.path.join(pristine, target)):
                shutil.copyfile(os.path.join(pristine, target), copy)
            touched[target] = copy
        run = subprocess.run(
            ["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", "--batch", "--forward", "-d", work],
            input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )
        if run.returncode:
            why = [l for l in run.stdout.splitlines() if re.search(r"FAILED|No file|malformed|can't find|previously", l)]
            file = [l for l in run.stdout.splitlines() if l.startswith("patching file")]
            where = f" in {file[-1].split()[-1]}" if file else ""
            die(f"patches/{name} does not apply{where}: {(why or [run.stdout.strip()])[0]}; fix the patch, or use the kernel it was made for")
    return touched


def mutate(name, pristine, want, work):
    """Has the tree hold a mutant. The next run without it brings back what it has changed."""
    try:
        mutant = mutation.read(name)
        for path in mutant.edits:
            source = want.get(path, os.path.join(pristine, path))
            if not os.path.exists(source):
                raise mutation.Broken(f"{name} does not apply: there is no {path}")
            with open(source, encoding="utf-8") as file:
                text = mutation.edited(mutant, path, file.read())
            want[path] = os.path.join(work, ".mutant", path)
            os.makedirs(os.path.dirname(want[path]), exist_ok=True)
            with open(want[path], "w", encoding="utf-8") as file:
                file.write(text)
    except mutation.Broken as e:
        die(e)


def same(source, target):
    return filecmp.cmp(source, target, shallow=False) and os.access(source, os.X_OK) == os.access(target, os.X_OK)


def put(source, target):
    """Replaces target by a copy of source that is new to make, if they differ."""
    if os.path.exists(target) and same(source, target):
        return False
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = target + ".rpal-new"
    shutil.copyfile(source, temporary)
    if os.access(source, os.X_OK):
        os.chmod(temporary, 0o755)
    os.replace(temporary, target)
    return True


def follow(pristine, tree, ours):
    """Links in what changed in a KSRC= tree since the tree here was made."""
    seen = set()
    for path, dirs, files in os.walk(pristine):
        rel = os.path.relpath(path, pristine)
        os.makedirs(os.path.join(tree, rel), exist_ok=True)
        for name in files:
            file = os.path.normpath(os.path.join(rel, name))
            seen.add(file)
            source, target = os.path.join(pristine, file), os.path.join(tree, file)
            if file in ours or (os.path.lexists(target) and os.path.samestat(os.lstat(source), os.lstat(target))):
                continue
            if os.path.lexists(target):
                os.unlink(target)
            os.link(source, target, follow_symlinks=False)
    for path, dirs, files in os.walk(tree):
        rel = os.path.relpath(path, tree)
        for name in files:
            file = os.path.normpath(os.path.join(rel, name))
            if file not in seen and file not in ours:
                os.unlink(os.path.join(tree, file))


def wait_for_builds(tree, want, old):
    """Not under the hands of a compiler: builds hold this lock shared. None if there is nothing to do."""
    differ = "--follow" in sys.argv or any(p not in want for p in old)
    for path, source in want.items():
        target = os.path.join(tree, path)
        if os.path.exists(source) != os.path.exists(target):
            differ = True
        elif os.path.exists(source) and not same(source, target):
            differ = True
    if not differ:
        return None
    lock = open(tree + ".lock", "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("  WAIT     a build is running, and files of it have changed", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def main():
    repo, pristine, tree = sys.argv[1:4]
    manifest = tree + ".manifest"
    old = []
    if os.path.exists(manifest):
        with open(manifest, encoding="utf-8") as file:
            old = json.load(file)
    changed = 0
    with tempfile.TemporaryDirectory() as work:
        want = patched_files(repo, pristine, work)
        ours = overlay_files(repo)
        refuse_ignored(repo, ours.values())
        for path, source in ours.items():
            if path in want:
                die(f"{path} is both in the overlay and in a patch")
            if os.path.exists(os.path.join(pristine, path)):
                # Licence texts are the same everywhere.
                if path.startswith("LICENSES/"):
                    continue
                die(f"{path} would replace a file of the kernel's: change it by a patch")
            want[path] = source
        if "--mutant" in sys.argv:
            mutate(sys.argv[sys.argv.index("--mutant") + 1], pristine, want, work)
        lock = wait_for_builds(tree, want, old)
        if lock is None:
            return
        if "--follow" in sys.argv:
            follow(pristine, tree, set(old))
        # Written before anything is touched: a run cut short knows what to undo.
        with open(manifest + ".new", "w", encoding="utf-8") as file:
            json.dump(sorted(set(want) | set(old)), file)
        os.replace(manifest + ".new", manifest)
        for path in old:
            target = os.path.join(tree, path)
            if path in want:
                continue
            if os.path.exists(os.path.join(pristine, path)):
                changed += put(os.path.join(pristine, path), target)
            elif os.path.exists(target):
                os.unlink(target)
                changed += 1
        for path, source in want.items():
            if os.path.exists(source):
                changed += put(source, os.path.join(tree, path))
            elif os.path.exists(os.path.join(tree, path)):
                os.unlink(os.path.join(tree, path))
                changed += 1
        with open(manifest + ".new", "w", encoding="utf-8") as file:
            json.dump(sorted(want), file)
        os.replace(manifest + ".new", manifest)
    if changed:
        print(f"  OVERLAY  {changed} files changed", file=sys.stderr)


main()
