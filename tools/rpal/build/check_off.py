#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""check_off.py list REPO SOURCE: the objects to compare. check_off.py compare BUILD LLVM OBJECT...: compares them."""

import collections
import glob
import os
import re
import subprocess
import sys

# What runs on every task of a machine without RPAL, whether or not a patch names it: entry, faults, exec, fork, exit,
# signals, scheduling, page-table walks.
ALWAYS = """
arch/x86/entry/syscall_64.o arch/x86/entry/syscall_32.o arch/x86/kernel/process_64.o arch/x86/kernel/signal_64.o
arch/x86/mm/fault.o arch/x86/mm/tlb.o arch/x86/mm/pkeys.o arch/x86/kernel/fpu/core.o fs/binfmt_elf.o fs/exec.o
kernel/entry/common.o kernel/entry/syscall-common.o kernel/exit.o kernel/fork.o kernel/ptrace.o kernel/sched/core.o kernel/signal.o
mm/gup.o mm/memory.o mm/mmap.o mm/mmu_notifier.o mm/mprotect.o mm/pagewalk.o mm/vma.o
""".split()
USERS_OF_A_HEADER = 6
WHERE = ("arch/x86", "fs", "kernel", "mm", "lib", "ipc")


def touched(repo):
    names = set()
    for patch in sorted(glob.glob(os.path.join(repo, "patches/*.patch"))):
        with open(patch, encoding="utf-8") as file:
            names |= set(re.findall(r"^\+\+\+ b/(\S+)", file.read(), re.M))
    return sorted(names)


def users(source, headers):
    """For each header, a few files that include it."""
    spelled = {}
    for header in headers:
        name = re.sub(r"^(arch/x86/)?include/(uapi/)?", "", header)
        spelled[re.compile(rf'^#include [<"]{re.escape(name)}[>"]', re.M)] = header
    found = collections.defaultdict(list)
    for top in WHERE:
        for path, _, files in sorted(os.walk(os.path.join(source, top))):
            for name in sorted(f for f in files if f.endswith(".c")):
                full = os.path.join(path, name)
                with open(full, encoding="utf-8", errors="replace") as file:
                    text = file.read()
                for pattern, header in spelled.items():
                    if len(found[header]) < USERS_OF_A_HEADER and pattern.search(text):
                        found[header].append(os.path.relpath(full, source))
    return sorted({f for files in found.values() for f in files})


def objects(repo, source):
    names = touched(repo)
    found = set(ALWAYS)
    for name in names:
        if name.endswith((".c", ".S")) and not name.startswith(("rust/", "tools/", "samples/", "scripts/")):
            found.add(re.sub(r"\.[cS]$", ".o", name))
        if name.startswith("rust/kernel"):
            found.add("rust/kernel.o")
        if name.startswith("rust/helpers"):
            found.add("rust/helpers/helpers.o")
    for file in users(source, [n for n in names if n.endswith(".h") and "include/" in n]):
        if "/tools/" not in file and "/boot/" not in file and "/vdso" not in file:
            found.add(re.sub(r"\.c$", ".o", file))
    # A directory that this configuration does not build is no error: compare skips what is in neither tree.
    return sorted(o for o in found if o.startswith("rust/") or os.path.exists(os.path.join(source, o[:-2] + ".c"))
                  or os.path.exists(os.path.join(source, o[:-2] + ".S")))


def disassembly(llvm, path):
    run = subprocess.run([f"llvm-objdump-{llvm}", "-dr", "--no-show-raw-insn", path],
                         stdout=subprocess.PIPE, text=True, check=True)
    # The first lines name the file.
    return [l for l in run.stdout.splitlines() if "file format" not in l]


def compare(build, llvm, names):
    same = skipped = 0
    different = []
    for name in names:
        paths = [os.path.join(build, f"obj-off-{which}", name) for which in ("stock", "patched")]
        there = [os.path.exists(p) for p in paths]
        if not any(there):
            print(f"skip {name} # not in this configuration")
            skipped += 1
            continue
        if not all(there):
            print(f"not ok {name} # did not build, see build/log/check-off-{'patched' if there[0] else 'stock'}.log")
            different.append(name)
            continue
        stock, patched = (disassembly(llvm, p) for p in paths)
        if stock == patched:
            print(f"ok {name} # {len(stock)} lines")
            same += 1
            continue
        different.append(name)
        at = next((i for i, (a, b) in enumerate(zip(stock, patched)) if a != b), min(len(stock), len(patched)))
        print(f"not ok {name} # {len(stock)} lines stock, {len(patched)} patched, first difference:")
        print("".join(f"    - {l}\n" for l in stock[at:at + 3]) + "".join(f"    + {l}\n" for l in patched[at:at + 3]), end="")
    print(f"check-off: {'pass' if same and not different else 'FAIL'}: {same} objects identical, {len(different)} different, {skipped} not built")
    sys.exit(0 if same and not different else 1)


if sys.argv[1] == "list":
    print("\n".join(objects(*sys.argv[2:4])))
else:
    compare(sys.argv[2], sys.argv[3], sys.argv[4:])
