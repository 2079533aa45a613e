#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs every test: on the host, and in the guest over the matrix of kernels and machines.

test.py --kselftest: only the selftests in one guest, as TAP on the terminal. There a skip is a
skip; otherwise one that allowed-skips does not name is a failure.
test.py --flavours: only the names of the kernels that are needed.
Closes with one line, "N passed, N failed, N skipped", and leaves build/results/test.json.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import guest
import klog
import ktap

REPO, BUILD = guest.REPO, guest.BUILD
SELFTESTS = REPO / "tools/testing/selftests/rpal"
INSTALLED = BUILD / "kselftest"
RESULTS = BUILD / "results"

# A slow or busy machine must not look like a stalled kernel.
APPEND = "rcupdate.rcu_cpu_stall_timeout=240 kunit.stats_enabled=0"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One kernel on one machine."""

    flavour: str
    cpus: int
    la57: bool = True
    pti: bool = False
    # A CPU of Intel's, by its name: the emulator's own is one of AMD's, which has no SYSENTER for us.
    intel: bool = False
    # Of memory, for what is moved between them; no part of the name.
    nodes: int = 1
    # Of each core, for what keeps tasks apart there; no part of the name either.
    threads: int = 1
    long: bool = False
    # The kernel with the hole that some tests must find.
    control: bool = False

    @property
    def name(self):
        return (f"{self.flavour}-{self.cpus}cpu-{'la57' if self.la57 else '4level'}"
                + ("-pti" if self.pti else "") + ("-intel" if self.intel else ""))

    @property
    def cpu(self):
        return "max" + ("" if self.la57 else ",-la57") + (",vendor=GenuineIntel" if self.intel else "")

    @property
    def memory(self):
        return "3G" if self.flavour == "debug" else "2G"

    @property
    def part(self):
        """One in how many rounds of the long tests is run."""
        return 8 if self.flavour == "debug" and not os.environ.get("ALL") else 1

    @property
    def slow(self):
        """Is it the slowest machine of all? The release kernel on one CPU runs the same tests."""
        return self.flavour == "debug" and self.cpus == 1 and not os.environ.get("ALL")

    def boot(self, command, **more):
        return guest.boot(
            self.flavour, command, cpus=self.cpus, threads=self.threads, cpu=self.cpu,
            append=APPEND + (" pti=on" if self.pti else " pti=off"), memory=self.memory, nodes=self.nodes,
            env={"RPAL_BIN": str(BUILD / "target/release"), "RPAL_PART": str(self.part)}, **more)


def matrix():
    # Each property of a machine is in a cell of each kernel, but not each combination: ALL=1 has
    # them. The longest are first, and guests of one CPU beside those of several where it can be:
    # several that share few processors spend much of their time on waiting for each other.
    cells = [
        Cell("debug", 4, nodes=2, long=True), Cell("debug", 1, la57=False, pti=True),
        Cell("release", 4, long=True), Cell("release", 4, la57=False, pti=True, intel=True, nodes=2),
        Cell("release", 1, la57=False, pti=True),
    ]
    if os.environ.get("ALL"):
        cells += [
            Cell("debug", 4, la57=False, pti=True), Cell("debug", 4, la57=False, pti=True, intel=True),
            Cell("release", 4, la57=False, pti=True), Cell("features", 4, threads=2),
        ]
        for flavour in ("debug", "release"):
            cells += [
                Cell(flavour, 1), Cell(flavour, 4, la57=False), Cell(flavour, 4, pti=True),
                Cell(flavour, 1, la57=False), Cell(flavour, 1, pti=True),
            ]
    cells.append(Cell("noflush", 4, nodes=2, control=True))
    if only := os.environ.get("RPAL_CELLS"):
        cells = [c for c in cells if re.search(only, c.name)]
    return cells


def listed(name):
    """A list of tests, made with them or lying beside them: one a line, with comments."""
    path = INSTALLED / "rpal" / name
    path = path if path.exists() else SELFTESTS / name
    lines = path.read_text().splitlines() if path.exists() else []
    return [l.split("#")[0].strip() for l in lines if l.split("#")[0].strip()]


def allowed_skips():
    """[(test, cell, reason)]: regular expressions of names, and what the test gives as its reason."""
    found = []
    for line in listed("allowed-skips"):
        words = line.split(None, 2)
        if len(words) != 3:
            sys.exit(f"rpal: error: allowed-skips: a test, a cell and a reason are needed: {line}")
        found.append(tuple(words))
    return found


def judged(results, cell):
    """With a failure for each skip that is not to be expected there: what it would have seen, nobody has."""
    allowed = allowed_skips()

    def is_allowed(test, why):
        return any(re.fullmatch(t, test) and re.fullmatch(c, cell) and reason in why for t, c, reason in allowed)

    return ktap.Results(
        (test, "fail", f"skipped, and not in allowed-skips: {why}")
        if result == "skip" and not is_allowed(test, why) else (test, result, why)
        for test, result, why in results)


def installed():
    path = INSTALLED / "kselftest-list.txt"
    if not path.exists():
        return []
    tests = [l.split(":", 1)[1].strip() for l in path.read_text().splitlines() if l.startswith("rpal:")]
    if only := os.environ.get("RPAL_TESTS"):
        tests = [t for t in tests if re.search(only, t)]
    return tests


def script(tests, options=None):
    """What the guest runs: each test from its own directory, between two marks. Some with options."""
    lines = ["set -u"]
    for test in tests:
        lines += [
            f"cd {INSTALLED}/rpal", f"echo '@begin {test}'", "SECONDS=0", f"./{test} {(options or {}).get(test, '')} </dev/null; echo \"@end {test} $? $SECONDS\"",
        ]
    return "\n".join(lines)


def split(output, tests):
    """Test -> (lines, exit status or None)."""
    found = {}
    name, lines = None, []
    for line in output.splitlines():
        line = line.rstrip("\r")
        # A program that died in mid-line leaves the mark at the end of one.
        if begin := re.search(r"@begin (\S+)$", line):
            name, lines = begin[1], []
        elif (end := re.search(r"@end (\S+) (\d+) \d+$", line)) and name == end[1]:
            found[name] = lines + [line[: end.start()]], int(end[2])
            name = None
        elif name:
            lines.append(line)
    if name:
        found[name] = lines, None
    for test in tests:
        found.setdefault(test, ([], None))
    return found


def run_cell(cell, progress):
    started = time.monotonic()
    tests = installed()
    long = set(listed("long-tests"))
    control = dict((l.split(":", 1) + [""])[:2] for l in listed("noflush-tests"))
    if cell.control:
        tests = [t for t in tests if t in control]
    elif not cell.long:
        left_out = long | (set(listed("slow-tests")) if cell.slow else set())
        tests = [t for t in tests if t not in left_out]
    results = ktap.Results()
    kept = RESULTS / "cells" / cell.name
    if cell.control and not tests:
        results.append(("noflush-tests names a test that is there", "fail", ""))
    outcome = cell.boot(script(tests), keep=kept)
    booted = ktap.read(klog.kunit(outcome.console), "kunit")
    if not cell.control:
        results += booted
        if not booted:
            results.append(("kunit: reported at boot", "skip", "no KUnit report in the kernel's log"))
    for test, (lines, status) in split(outcome.output, tests).items():
        if status is None:
            seen = ktap.read(lines, test)
            results += seen
            results.append((f"{test}: ran to its end", "fail", outcome.reason or "no end was reported"))
            continue
        seen = ktap.read(lines, test, status)
        if not cell.control:
            results += seen
            continue
        # Each line that the hole must turn red is one test here: passed if it did.
        marked = [r for r in seen if control[test] in r[0]]
        broken = [r for r in marked if r[1] == "fail"]
        if control[test]:
            results += [(f"{n}: fails without the flush", "pass" if r == "fail" else "fail", w) for n, r, w in marked]
        if not control[test] or not marked:
            results.append((f"{test}: fails without the flush", "pass" if broken else "fail", ""))
    if outcome.reason:
        results.append(("the guest", "fail", outcome.reason))
    if not cell.control:
        results += [(f"kernel log: {r}", "fail", "")
                    for r in klog.reports(outcome.console) + klog.floods(outcome.console)]
    results = judged(results, cell.name)
    progress(cell.name, results, time.monotonic() - started, kept)
    return cell.name, results


def run_host(progress):
    """cargo test of what has no kernel in it: the logic that it shares with the kernel, and the library."""
    started = time.monotonic()
    results = ktap.Results()
    for manifest in ("tools/testing/rpal-host/Cargo.toml", "tools/rpal/Cargo.toml"):
        if not (REPO / manifest).exists():
            continue
        run = subprocess.run(
            ["cargo", "test", "--locked", "--offline", "--workspace", "--no-fail-fast",
             "--manifest-path", str(REPO / manifest)],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        (RESULTS / "cells").mkdir(parents=True, exist_ok=True)
        (RESULTS / "cells" / f"host-{manifest.split('/')[-2]}.output.log").write_text(run.stdout)
        where = manifest.split("/")[-2]
        ran = re.findall(r"^test (.+?) \.\.\. (ok|FAILED|ignored)", run.stdout, re.M)
        verdict = {"ok": "pass", "FAILED": "fail", "ignored": "skip"}
        results += [(f"{where}: {name}", verdict[word], "") for name, word in ran]
        if run.returncode and not any(word == "FAILED" for _, word in ran):
            why = re.search(r"^error.*", run.stdout, re.M)
            results.append((f"{where}: cargo test", "fail", why[0] if why else f"exit status {run.returncode}"))
    results = judged(results, "host")
    progress("host", results, time.monotonic() - started, RESULTS / "cells/host")
    return "host", results


def main():
    started = time.monotonic()
    lock = threading.Lock()

    def clock():
        elapsed = int(time.monotonic() - started)
        return f"[{elapsed // 60:2}:{elapsed % 60:02}]"

    def progress(name, results, seconds, kept):
        with lock:
            print(f"{clock()} {name}: {results.passed} passed, {results.failed} failed, "
                  f"{results.skipped} skipped ({seconds:.0f} s)", flush=True)
            for test, result, why in results:
                if result == "fail":
                    print(f"        not ok {test}" + (f" # {why}" if why else ""), flush=True)
            if results.failed:
                print(f"        see {kept.relative_to(REPO)}*.log", flush=True)

    cells = matrix()
    jobs = []
    # Guests of more CPUs than the machine has share them well; two at a time keep a pair of cores busy.
    with concurrent.futures.ThreadPoolExecutor(max(1, min(len(cells) + 1, os.cpu_count() or 1))) as pool:
        if not os.environ.get("RPAL_CELLS") or re.search(os.environ["RPAL_CELLS"], "host"):
            jobs.append(pool.submit(run_host, progress))
        jobs += [pool.submit(run_cell, cell, progress) for cell in cells]
        done = [job.result() for job in jobs]
    total = ktap.Results(r for _, results in done for r in results)
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {
        "passed": total.passed, "failed": total.failed, "skipped": total.skipped,
        "seconds": round(time.monotonic() - started),
        "cells": {name: [{"test": t, "result": r, "why": w} for t, r, w in results] for name, results in done},
    }
    (RESULTS / "test.json.tmp").write_text(json.dumps(document, indent=1) + "\n")
    os.replace(RESULTS / "test.json.tmp", RESULTS / "test.json")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    sys.exit(0 if total.passed and not total.failed else 1)


def kselftest():
    """The selftests in one guest, their TAP as it comes."""
    cell = Cell("release", int(os.environ.get("CPUS") or 4))
    tests = installed()

    def sink(data):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    outcome = cell.boot(script(tests), keep=RESULTS / "cells/kselftest", sink=sink)
    results = ktap.Results()
    for test, (lines, status) in split(outcome.output, tests).items():
        results += ktap.read(lines, test, status)
        if status is None:
            results.append((f"{test}: ran to its end", "fail", outcome.reason or ""))
    results += [(f"kernel log: {r}", "fail", "") for r in klog.reports(outcome.console)]
    for test, result, why in results:
        if result == "fail":
            print(f"not ok {test}" + (f" # {why}" if why else ""))
    print(f"{results.passed} passed, {results.failed} failed, {results.skipped} skipped")
    sys.exit(0 if results.passed and not results.failed else 1)


if __name__ == "__main__":
    if "--kselftest" in sys.argv:
        kselftest()
    elif "--flavours" in sys.argv:
        print(*sorted({cell.flavour for cell in matrix()}, reverse=True))
    else:
        main()
