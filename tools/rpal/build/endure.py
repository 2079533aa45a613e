#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs what takes long in guests of four CPUs, and shows what it counted.

endure.py KIND FLAVOUR...: one guest per kernel; leaves build/results/KIND.json. A failed test or a
report in the kernel's log is a failure; what was reached is not: that depends on the machine.

stress: everything at once, MINUTES (10) with SERVICES (8)
fuzz:   hostile neighbours, OPERATIONS (1,000,000)
lives:  LIVES (200,000) of services, in as many WORKERS (4)

All take a SEED, or one of their own.
"""

import dataclasses
import json
import os
import random
import re
import sys
import typing

import guest
import klog
import ktap

RESULTS = guest.BUILD / "results"
PROGRAMS = guest.BUILD / "kselftest/rpal"
# Slow machines must not look like stalled kernels.
APPEND = "rcupdate.rcu_cpu_stall_timeout=300 watchdog_thresh=60 kunit.enable=0"
# What KCSAN has done.
WATCHED = ("mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null; "
           "sed -n 's/^[a-z_]*: [0-9]*$/# &/p' /sys/kernel/debug/kcsan")
# What of a program's output is shown as it comes.
NEWS = re.compile(r"# (\d+ s:|round \d|lives \d|not so:|lib_|rpal_)")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A program, and how it is told for how long."""

    program: str
    # Variable of the environment -> option and default.
    options: typing.Mapping[str, typing.Tuple[str, float]]
    # Counts that are worth something from a number on.
    reached: re.Pattern = re.compile("$^")
    goal: int = 0
    memory: str = "3G"
    # Each crash of a program would be a line on a slow console.
    before: str = "echo 0 >/proc/sys/debug/exception-trace"


KINDS = {
    # T2 to T4 are counted by the program, the rest by the kernel.
    "stress": Kind("rpal_stress", {"MINUTES": ("--seconds", 10), "SERVICES": ("--services", 8)},
                   reached=re.compile(r"(region|T\d+)_"), goal=1000),
    "fuzz": Kind("rpal_fuzz", {"OPERATIONS": ("--ops", 1000000)}),
    "lives": Kind("rpal_lives", {"LIVES": ("--lives", 200000), "WORKERS": ("--workers", 4)}),
}


def asked(kind):
    """What the environment says: variable -> number."""
    return {name: float(os.environ.get(name) or default) for name, (_, default) in kind.options.items()}


def arguments(kind, values, seed):
    words = [f"--seed {seed}"]
    for name, (option, _) in kind.options.items():
        words.append(f"{option} {round(values[name] * (60 if name == 'MINUTES' else 1))}")
    return " ".join(words)


# Races of the kernel's own that can come about below a function of ours.
KERNELS_OWN = (
    # What a task that has exited its own address space runs on changes with each switch to it. The
    # scheduler is not instrumented, so this looks like a race where that is only compared: whoever
    # drops the last reference to an address space after its own can be preempted there.
    re.compile(r"race at unknown origin, with read to \S+ of 8 bytes by task [^\n]*\n[^\n]*\] +__mmdrop\+0x"),
    # Credentials are copied with their count of references, which is set anew afterwards.
    re.compile(r"BUG: KCSAN: data-race in get_task_cred / prepare_creds\s"),
)


def kcsan(console):
    """KCSAN's reports: of races that we take part in, and of others.

    Ours have a function of RPAL's in one of the two stacks, above the point where an interrupt
    came: what that interrupts has no part in it. Nor has who calls what KERNELS_OWN knows.
    """
    ours, others = [], []
    for block in re.split(r"^.*={50,}\r?\n", console, flags=re.M):
        if not (head := re.search(r"BUG: KCSAN: .*", block)):
            continue
        stacks = [re.split(r"^.* asm_\w+\+0x", stack, flags=re.M)[0]
                  for stack in re.split(r"^.*\d\] *\r?\n", block, flags=re.M)]
        part = (any(re.search(r"rpal\S*\+0x", stack) for stack in stacks)
                and not any(own.search(block) for own in KERNELS_OWN))
        (ours if part else others).append(head[0].strip())
    return ours, others


def run(name, flavour, values, seed):
    kind = KINDS[name]
    command = f"{kind.before}\ncd {PROGRAMS} && ./{kind.program} {arguments(kind, values, seed)} 2>&1"
    print(f"  {name.upper():<8} {flavour}: " + " ".join(f"{k}={v:.10g}" for k, v in values.items()) + f" SEED={seed}",
          flush=True)
    if flavour == "kcsan":
        command += f"\nstatus=$?\n{WATCHED}\nexit $status"
    outcome = guest.boot(flavour, command, cpus=int(os.environ.get("CPUS") or 4), append=APPEND,
                         memory=kind.memory, keep=RESULTS / f"{name}-{flavour}", sink=news)
    lines = outcome.output.splitlines()
    results = ktap.read(lines, kind.program, outcome.status)
    if outcome.reason:
        results.append(("the guest", "fail", outcome.reason))
    ours, others = kcsan(outcome.console)
    results += [(f"kernel log: {r}", "fail", "") for r in klog.reports(outcome.console) if "KCSAN" not in r]
    results += [(f"kernel log: {r}", "fail", "") for r in ours]
    if flavour == "kcsan" and not any(re.match(r"# setup_watchpoints: [1-9]", line) for line in lines):
        results.append(("KCSAN was on", "fail", "no report says nothing without a watchpoint"))
    counts = {m[1]: None if m[2] == "-" else int(m[2])
              for m in (re.match(r"# count (\S+) (-|\d+)$", line) for line in lines) if m}
    return {
        "flavour": flavour, "seed": seed, "asked": values, "counts": counts,
        "wrong": [line[2:] for line in lines if line.startswith(("# not so:", "# lib_", "# rpal_"))],
        "left": [line[2:] for line in lines if line.startswith("# left ")],
        "races_elsewhere": others,
        "tests": [{"test": t, "result": r, "why": w} for t, r, w in results],
    }


def news(data):
    for line in data.decode(errors="replace").splitlines():
        if NEWS.match(line):
            print(f"           {line[2:]}", flush=True)


def table(kind, runs):
    rows = []
    for r in runs:
        rows += [name for name in r["counts"] if name not in rows]
    print(f"\n  {'':<28}" + "".join(f"{r['flavour']:>14}" for r in runs))
    # What it is about first, and the kernel's own names last.
    rows.sort(key=lambda name: (not kind.reached.match(name), name.startswith("kernel_")))
    for name in rows:
        cells = ""
        for r in runs:
            value = r["counts"].get(name)
            mark = " " if value is None or value >= kind.goal or not kind.reached.match(name) else "<"
            cells += f"{'-' if value is None else format(value, ','):>13}{mark}"
        print(f"  {name:<28}{cells}")
    if kind.goal:
        print(f"\n  <: fewer than {kind.goal:,}, which the default should reach   -: not counted by this kernel")


def main():
    name, flavours = sys.argv[1], sys.argv[2:]
    kind = KINDS[name]
    values = asked(kind)
    seed = int(os.environ.get("SEED") or str(random.getrandbits(31)), 0)
    runs = [run(name, flavour, values, seed) for flavour in flavours]
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.with_suffix(".tmp").write_text(json.dumps(runs, indent=1) + "\n")
    os.replace(path.with_suffix(".tmp"), path)
    table(kind, runs)
    total = ktap.Results((t["test"], t["result"], t["why"]) for r in runs for t in r["tests"])
    for r in runs:
        for t in r["tests"]:
            if t["result"] == "fail":
                print(f"  not ok {r['flavour']}: {t['test']}" + (f" # {t['why']}" if t["why"] else ""))
        if r["races_elsewhere"]:
            print(f"  {r['flavour']}: {len(r['races_elsewhere'])} data races that RPAL has no part in, see {name}.json")
    again = " ".join(f"{k}={v:.10g}" for k, v in values.items())
    print(f"\n  build/results/{name}.json, {name}-*.log   replay: make {name} {again} SEED={seed}")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    sys.exit(0 if total.passed and not total.failed else 1)


main()
