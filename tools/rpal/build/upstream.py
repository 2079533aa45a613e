#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs the kernel's own selftests on the published kernel and on ours, and compares.

While they run, clients call a service on ours all the time, and exchange the same messages over
a socket on the other, so that both are as busy. What differs is run again on both, and counts if
ours has a result that the other never had. tools/testing/rpal-upstream has the list of programs
and that of differences that are known and have a reason. RPAL_TESTS=regex: only these programs.
Leaves build/results/upstream.json; fails if anything differs without a reason.
"""

import collections
import concurrent.futures
import json
import os
import re
import sys
import time

import guest
import klog
import ktap
import test

BUILD = guest.BUILD
LISTS = guest.REPO / "tools/testing/rpal-upstream"
PROGRAMS = BUILD / "upstream/src/tools/testing/selftests"
RESULTS = BUILD / "results"
APPEND = "rcupdate.rcu_cpu_stall_timeout=240 kunit.enable=0"
# Per program, in seconds of the guest. Generous: it only keeps one that hangs from stopping the rest.
BOUND = 600
# How often what differs is run again.
AGAIN = 2
KERNELS = ("stock", "release")
# The messages are those of the echo samples: a second or so of each kind between two pauses.
LOAD = {
    "release": ("$bin/rpal run -- $bin/echo-server", "$bin/rpal run -- $bin/echo-client", 50000),
    "stock": ("$bin/echo-uds-server", "$bin/echo-uds-client", 1000),
}
# How some programs are started: with what their own scripts set, or as somebody else.
BEFORE = {
    # It registers its area itself.
    "rseq/param_test": "env GLIBC_TUNABLES=glibc.pthread.rseq=0",
}
BRACKETS = re.compile(r"^\s*\[(OK|FAIL|SKIP|PASS)\]\s*(.*)$")
# What plain() would make one is printed once: some tests report each system call by number.
FEWER = 'match($0, /^ *\\[/) { k = $0; gsub(/[0-9][0-9][0-9]+/, "N", k); if (seen[k]++) next } { print }'
WORD = {"OK": "pass", "PASS": "pass", "FAIL": "fail", "SKIP": "skip"}


def lines_of(name):
    lines = [l.split("#")[0].strip() for l in (LISTS / name).read_text().splitlines()]
    return [l for l in lines if l]


def programs():
    """The command lines, "collection/program arguments", in the list's order."""
    emitted = [l.split(":", 1) for l in (BUILD / "upstream/all").read_text().split()]
    found = []
    for line in lines_of("programs"):
        where, what = (part.strip() for part in line.lstrip("-").split(":", 1))
        names = [p for c, p in emitted if c == where] if what == "*" else [what]
        for name in (f"{where}/{n}" for n in names):
            if line.startswith("-"):
                found.remove(name)
            elif name not in found:
                found.append(name)
    # A collection's programs together: it is copied once.
    order = list(dict.fromkeys(split(p)[0] for p in found))
    found.sort(key=lambda p: order.index(split(p)[0]))
    if only := os.environ.get("RPAL_TESTS"):
        found = [p for p in found if re.search(only, p)]
    return found


def split(command):
    """Collection, program with arguments."""
    path, *arguments = command.split(" ", 1)
    where, name = path.rsplit("/", 1)
    return where, " ".join([name] + arguments)


def known():
    found = []
    for line in (LISTS / "differences").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            rule, reason = line.split("#", 1)
            program, pattern = rule.split(None, 1)
            found.append((program, re.compile(pattern.strip()), reason.strip()))
    return found


def script(kernel, commands):
    """What the guest runs: the load, and the programs between two marks, each in a copy that it may write to."""
    server, client, messages = LOAD[kernel]
    lines = [
        "set -u", f"bin={BUILD}/target/release", "echo 0 >/proc/sys/debug/exception-trace",
        # Through the tests' own tricks with limits, and out of their process group.
        f"setsid {server} --socket /run/load >/run/server.log 2>&1 &",
        "for i in $(seq 300); do [ -S /run/load ] && break; sleep 0.2; done",
        "(trap '' HUP; while [ ! -e /run/stop ]; do",
        f"    if {client} --socket /run/load --messages {messages} --system-calls 50 >/run/client.log 2>&1",
        "    then echo ok; else echo failed; cat /run/client.log; fi >>/run/load.log",
        "    sleep 0.3",
        "done) & load=$!",
    ]
    where = None
    for command in commands:
        directory, name = split(command)
        if directory != where:
            where = directory
            lines += ["cd /; rm -rf /tmp/upstream; mkdir -p /tmp/upstream",
                      f"cp -a {PROGRAMS}/{directory} {PROGRAMS}/kselftest /tmp/upstream/"]
        mark = command.replace(" ", "+")
        before = next((b for p, b in BEFORE.items() if command.startswith(p)), "")
        # To a file, which children that a program leaves behind may keep open; line by line, since some fork.
        lines += [
            f"echo '@begin {mark}'", "SECONDS=0", f"cd /tmp/upstream/{directory.rsplit('/', 1)[-1]}",
            f"timeout -k 10 {BOUND} {before} stdbuf -oL ./{name} </dev/null >/run/output 2>&1; status=$?",
            f"awk '{FEWER}' /run/output", f"echo \"@end {mark} $status $SECONDS\"",
        ]
    lines += [
        "touch /run/stop; wait $load",
        "echo \"@load $(grep -c '^ok' /run/load.log) $(grep -c '^failed' /run/load.log)\"",
        "grep -v '^ok' /run/load.log | head -20; cat /run/server.log",
        "true",
    ]
    return "\n".join(lines)


def plain(name):
    """A test's name without what differs from run to run: addresses, process ids, counts."""
    # Rounds of one test are one, and how many there were before the program ended may vary.
    name = re.sub(r"\(iteration \d+\)|^\d+ of (?=\d+ planned)", "", name)
    return re.sub(r"\b\d{3,}\b", "N", re.sub(r"0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b", "0xN", name)).strip()


def results(lines, status):
    """Test -> result, for one run of a program. Tests of one name are one."""
    if status in (124, 137):
        return {"(the program)": "hang"}
    if any(ktap.RESULT.match(l) for l in lines):
        seen = [(n.split(": ", 1)[-1], r) for n, r, _ in ktap.read(lines, "", status)]
    else:
        seen = [(m[2], WORD[m[1]]) for m in map(BRACKETS.match, lines) if m]
        verdict = "pass" if status == 0 else "skip" if status == 4 else "missing" if status == 127 else "fail"
        seen.append(("(the program)" if verdict != "fail" else f"(exit status {status})", verdict))
    found = collections.defaultdict(list)
    for name, result in seen:
        found[name if name.startswith("(") else plain(name) or "(the program)"].append(result)
    return {n: next(r for r in ("hang", "fail", "missing", "pass", "skip") if r in rs) for n, rs in found.items()}


def counter(kernel, total):
    """A sink that says after each so many programs how far the guest is."""
    started, seen, said = time.monotonic(), 0, 0

    def sink(data):
        nonlocal seen, said
        seen += data.count(b"@end ")
        if seen >= said + 20:
            said = seen
            print(f"  {'':<8} {kernel}: {seen} of {total} programs after {time.monotonic() - started:.0f} s", flush=True)

    return sink


def run(kernel, commands, times=1, suffix=""):
    """Command -> list of results, one per time; and what the guest said about itself."""
    started = time.monotonic()
    marks = [c.replace(" ", "+") for c in commands]
    print(f"  {'RUN':<8} {kernel}: {len(commands)} programs" + (f", {times} times" if times > 1 else ""), flush=True)
    found = collections.defaultdict(list)
    about = {"reports": [], "load": [0, 0], "failures": []}
    for number in range(times):
        kept = RESULTS / f"upstream-{kernel}{suffix}{number or ''}"
        outcome = guest.boot(kernel, script(kernel, commands), cpus=int(os.environ.get("CPUS") or 4), append=APPEND,
                             memory="3G", keep=kept, sink=counter(kernel, len(commands)))
        for mark, (lines, status) in test.split(outcome.output, marks).items():
            command = mark.replace("+", " ")
            found[command].append({"(the program)": "no end"} if status is None else results(lines, status))
        about["reports"] += klog.reports(outcome.console)
        if outcome.reason:
            about["failures"].append(outcome.reason)
        load = re.search(r"^@load (\d+) (\d+)", outcome.output, re.M)
        if not load or int(load[2]) or not int(load[1]):
            about["failures"].append(f"the load did not run as it should, see {kept.name}.output.log")
        about["load"] = [a + int(b) for a, b in zip(about["load"], load.groups() if load else (0, 0))]
    about["messages"] = about["load"][0] * LOAD[kernel][2]
    print(f"  {'DONE':<8} {kernel}: {time.monotonic() - started:.0f} s, {about['load'][0]} clients of the load meanwhile, "
          f"{about['messages']:,} messages", flush=True)
    return found, about


def both(*arguments):
    """run() on each kernel, side by side."""
    with concurrent.futures.ThreadPoolExecutor(len(KERNELS)) as pool:
        return list(pool.map(lambda kernel: run(kernel, *arguments), KERNELS))


def differing(stock, ours):
    """Tests with a result on ours that the other kernel did not have: name -> the two sets."""
    names = {n for one in stock + ours for n in one}
    sets = {n: tuple(sorted({one.get(n, "not reported") for one in runs}) for runs in (stock, ours)) for n in sorted(names)}
    return {n: pair for n, pair in sets.items() if not set(pair[1]) <= set(pair[0])}


def compare(seen):
    """All differences: (command, test, on stock, on ours, reason or None)."""
    rules = known()
    found = []
    for command, runs in seen.items():
        program = command.split(" ")[0]
        for name, (stock, ours) in differing(*runs).items():
            reason = next((why for p, pattern, why in rules if p == program and pattern.search(name)), None)
            found.append((command, name, stock, ours, reason))
    return found


def table(seen, differences):
    count = lambda runs, what: sum(1 for r in runs[0].values() if r in what)
    print(f"\n  {'':<24}{'':>9}{'stock 7.3':>21}{'with RPAL':>23}")
    head = f"{'passed':>9}{'failed':>7}{'skipped':>8}"
    print(f"  {'collection':<24}{'programs':>9}{head}{head}{'differ':>9}")
    rows = {}
    for where in dict.fromkeys(split(c)[0] for c in seen) | {"all": None}:
        commands = [c for c in seen if where in ("all", split(c)[0])]
        row = {"programs": len(commands)}
        for index, kernel in enumerate(KERNELS):
            for word, what in (("passed", ("pass",)), ("skipped", ("skip", "missing")), ("failed", ("fail", "hang", "no end"))):
                row[f"{kernel} {word}"] = sum(count(seen[c][index], what) for c in commands)
        row["differ"] = sum(1 for d in differences if d[0] in commands)
        row["explained"] = sum(1 for d in differences if d[0] in commands and d[4])
        rows[where] = row
        cells = "".join(f"{row[k + ' passed']:>9}{row[k + ' failed']:>7}{row[k + ' skipped']:>8}" for k in KERNELS)
        print(f"  {where:<24}{row['programs']:>9}{cells}{row['differ']:>9}")
    return rows


def main():
    RESULTS.mkdir(parents=True, exist_ok=True)
    commands = programs()
    if not commands:
        sys.exit("rpal: error: no program of that name")
    runs = both(commands)
    seen = {c: [found[c] for found, _ in runs] for c in commands}
    again = list(dict.fromkeys(d[0] for d in compare(seen) if not d[4]))
    abouts = [about for _, about in runs]
    if again:
        for index, (found, about) in enumerate(both(again, AGAIN, "-again")):
            abouts[index]["failures"] += about["failures"]
            abouts[index]["reports"] += about["reports"]
            for command in again:
                seen[command][index] += found[command]
    differences = compare(seen)
    rows = table(seen, differences)
    failures = [f"{k}: {f}" for k, a in zip(KERNELS, abouts) for f in a["failures"]]
    # What the tests provoke on the other kernel too is theirs.
    provoked = {plain(r) for r in abouts[0]["reports"]}
    failures += [f"kernel log: {r}" for r in abouts[1]["reports"] if plain(r) not in provoked]
    print()
    for command, name, stock, ours, reason in differences:
        print(f"  {'differs' if reason else 'DIFFERS'} {command}: {name}: {'/'.join(stock)} on stock, {'/'.join(ours)} on ours"
              + (f" # {reason}" if reason else ""))
    for failure in failures:
        print(f"  not ok {failure}")
    unexplained = [d for d in differences if not d[4]]
    document = {
        "collections": rows, "failures": failures, "about": dict(zip(KERNELS, abouts)),
        "differences": [dict(zip(("program", "test", "stock", "rpal", "reason"), d)) for d in differences],
        "programs": {c: dict(zip(KERNELS, pair)) for c, pair in seen.items()},
    }
    path = RESULTS / "upstream.json"
    path.with_suffix(".tmp").write_text(json.dumps(document, indent=1) + "\n")
    os.replace(path.with_suffix(".tmp"), path)
    print(f"\n  build/results/upstream.json, upstream-*.log\nupstream: {'FAIL' if unexplained or failures else 'pass'}: "
          f"{len(unexplained)} differences without a reason, {len(differences) - len(unexplained)} with one", flush=True)
    sys.exit(1 if unexplained or failures else 0)


if __name__ == "__main__":
    main()
