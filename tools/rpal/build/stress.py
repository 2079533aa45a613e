#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs rpal_stress in guests of four CPUs, and shows what it reached.

stress.py FLAVOUR...: one guest per kernel, MINUTES (10) each, from SEED or one of its own; leaves
build/results/stress.json. A failed property or a report in the kernel's log is a failure. What was
reached is not: that depends on the machine.
"""

import json
import os
import random
import re
import sys

import guest
import klog
import ktap

RESULTS = guest.BUILD / "results"
PROGRAMS = guest.BUILD / "kselftest/rpal"
# How often each region of the gate, and each transition of a lease, should be taken in ten minutes.
GOAL = 1000
# T8 is not in the kernel; T4 and T13 are counted by the program, the rest by the kernel.
REACHED = re.compile(r"(region|T\d+)_")
# Slow machines must not look like stalled kernels.
APPEND = "rcupdate.rcu_cpu_stall_timeout=300 kunit.enable=0"


def kcsan(console):
    """KCSAN's reports: of races that we take part in, and of others."""
    ours, others = [], []
    for block in re.split(r"^.*={50,}\n", console, flags=re.M):
        if head := re.search(r"BUG: KCSAN: .*", block):
            (ours if re.search(r"rpal", block) else others).append(head[0].strip())
    return ours, others


def run(flavour, minutes, seed, services):
    command = f"cd {PROGRAMS} && ./rpal_stress --seed {seed:#x} --seconds {round(minutes * 60)} --services {services}"
    kept = RESULTS / f"stress-{flavour}"
    print(f"  STRESS   {flavour}, {minutes:g} min: SEED={seed:#x}", flush=True)
    outcome = guest.boot(flavour, command, cpus=int(os.environ.get("CPUS") or 4), append=APPEND, memory="3G",
                         keep=kept, sink=news)
    lines = outcome.output.splitlines()
    results = ktap.read(lines, "rpal_stress", outcome.status)
    if outcome.reason:
        results.append(("the guest", "fail", outcome.reason))
    reports = klog.reports(outcome.console)
    ours, others = kcsan(outcome.console)
    results += [(f"kernel log: {r}", "fail", "") for r in reports if "KCSAN" not in r]
    results += [(f"kernel log: {r}", "fail", "") for r in ours]
    counts = {m[1]: None if m[2] == "-" else int(m[2])
              for m in (re.match(r"# count (\S+) (-|\d+)$", line) for line in lines) if m}
    wrong = [line[2:] for line in lines if line.startswith(("# not so:", "# lib_", "# rpal_"))]
    return {
        "flavour": flavour, "seed": hex(seed), "minutes": minutes, "services": services, "counts": counts,
        "wrong": wrong, "races_elsewhere": others,
        "tests": [{"test": t, "result": r, "why": w} for t, r, w in results],
    }


def news(data):
    for line in data.decode(errors="replace").splitlines():
        if re.match(r"# (\d+ s:|not so:|lib_|rpal_)", line):
            print(f"           {line[2:]}", flush=True)


def table(runs):
    rows = []
    for r in runs:
        rows += [name for name in r["counts"] if name not in rows]
    print(f"\n  {'':<28}" + "".join(f"{r['flavour']:>14}" for r in runs))
    # What they are about first, and the kernel's own names last.
    rows.sort(key=lambda name: (not REACHED.match(name), name.startswith("kernel_")))
    for name in rows:
        cells = ""
        for r in runs:
            value = r["counts"].get(name)
            mark = " " if value is None or value >= GOAL or not REACHED.match(name) else "<"
            cells += f"{'-' if value is None else format(value, ','):>13}{mark}"
        print(f"  {name:<28}{cells}")
    print(f"\n  <: fewer than {GOAL:,}, which ten minutes should reach   -: not counted by this kernel")


def main():
    minutes = float(os.environ.get("MINUTES") or 10)
    seed = int(os.environ.get("SEED") or hex(random.getrandbits(63)), 0)
    services = int(os.environ.get("SERVICES") or 8)
    runs = [run(flavour, minutes, seed, services) for flavour in sys.argv[1:]]
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "stress.json"
    path.with_suffix(".tmp").write_text(json.dumps(runs, indent=1) + "\n")
    os.replace(path.with_suffix(".tmp"), path)
    table(runs)
    total = ktap.Results((t["test"], t["result"], t["why"]) for r in runs for t in r["tests"])
    for r in runs:
        for t in r["tests"]:
            if t["result"] == "fail":
                print(f"  not ok {r['flavour']}: {t['test']}" + (f" # {t['why']}" if t["why"] else ""))
        if r["races_elsewhere"]:
            print(f"  {r['flavour']}: {len(r['races_elsewhere'])} data races that RPAL has no part in, see stress.json")
    print(f"\n  build/results/stress.json, stress-*.log   replay: make stress MINUTES={minutes:g} SEED={seed:#x}")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    sys.exit(0 if total.passed and not total.failed else 1)


main()
