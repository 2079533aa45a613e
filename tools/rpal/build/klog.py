# SPDX-License-Identifier: GPL-2.0-only
"""Reads a kernel log: reports that must not be there, and KUnit's results."""

import collections
import re

# What the kernel says when something is wrong with the kernel. Each such line is a failed test of the cell.
REPORT = re.compile(
    r"WARNING: |\bBUG:|kernel BUG at|KASAN:|UBSAN:|KFENCE:|KCSAN:|ODEBUG:|Oops\b|Kernel panic|panicked at"
    r"|general protection fault|double fault|invalid opcode:|unable to handle"
    r"|circular locking|recursive locking|inconsistent lock state|suspicious RCU|lock held when returning|bad unlock balance"
    r"|possible deadlock|DEBUG_LOCKS_WARN_ON|turning off the locking correctness validator|invalid wait context"
    r"|rcu: INFO:|INFO: task .* blocked|soft lockup|hard LOCKUP|self-detected stall"
    r"|sleeping function called|scheduling while atomic|Bad page state|Bad rss-counter|Bad page map"
    r"|refcount_t:|unreferenced object|non-zero pgtables_bytes|unchecked MSR|stack is corrupted|Unbalanced|leaked"
)
# A user program's trap is named in the log too, and tests cause those on purpose.
USER = re.compile(r"\] traps: |potentially unexpected fatal signal|audit:")


def strip(line):
    """Without the time stamp, but with what KTAP means by indentation."""
    return re.sub(r"^\[\s*\d+\.\d+\](\[\s*[TC]\d+\])? ?", "", line.rstrip("\r"))


def reports(console):
    found = []
    for line in console.splitlines():
        if REPORT.search(line) and not USER.search(line):
            found.append(strip(line).strip())
    return found


# So many lines that differ in numbers only, once there are programs, are one for each time that
# something happens.
FLOOD = 300


def floods(console):
    """What the log is full of: harmless lines, but too many of them."""
    _, _, running = console.partition(" as init process")
    kinds = collections.Counter(
        re.sub(r"\b(0x)?[0-9a-f]*\d[0-9a-f]*\b", "#", strip(line).strip())
        for line in running.splitlines() if not USER.search(line))
    return [f"{count} lines like: {kind}" for kind, count in kinds.items() if kind and count > FLOOD]


def booted_badly(console):
    """Has KASAN taken good memory for wild, at boot?

    identify_cpu() clears the CPU's features for a moment, with interrupts on. Where page tables
    have five levels, an interrupt finds four there, and KASAN all of the linear map out of bounds.
    No code of RPAL's has run by then, but lockdep is off afterwards: such a boot tests nothing.
    A boot with any other report beside it is not meant.
    """
    if len(reports(console)) != 1:
        return False
    report = re.search(r"BUG: KASAN: wild-memory-access in (?:.*\n)*?.*</TASK>", console)
    return bool(report and "task swapper/0/0" in report[0] and re.search(r"RIP: \S*identify_cpu\+", report[0]))


def kunit(console):
    """The lines from KUnit's header to the end of its plan."""
    lines = [strip(line) for line in console.splitlines()]
    for start, line in enumerate(lines):
        if re.match(r"(K?TAP) version", line):
            return lines[start + 1:]
    return []
