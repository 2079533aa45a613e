#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs the demo in a guest that counts instructions, and prints what a message cost.

demo.py demo|bench: the name of what is left in build/results. The demo itself is samples/rpal/demo.sh, a plain script
for any machine; lines of its output that begin with "RESULT" are results, one JSON object each, and the rest is for
people. RPAL_MESSAGES says how many messages.
"""

import json
import os
import sys

import guest

RESULTS = guest.BUILD / "results"
NAMES = {"uds_epoll": "Unix stream socket + epoll", "rpal": "RPAL"}


def table(echo):
    print(f"\n  {'32-byte messages, both ways' if echo[0]['bytes'] == 32 else 'messages'}"
          f", {echo[0]['messages']:,} of them, {echo[0]['unit']} each")
    print(f"\n  {'mechanism':<30}{'one way':>12}{'round trip':>14}")
    for row in echo:
        print(f"  {NAMES.get(row['mechanism'], row['mechanism']):<30}{row['one_way']:>12,.1f}{row['round_trip']:>14,.1f}")
    trips = {row["mechanism"]: row["round_trip"] for row in echo}
    if trips.get("rpal") and trips.get("uds_epoll"):
        print(f"\n  The round trip over the socket costs {trips['uds_epoll'] / trips['rpal']:.1f} times that of an RPAL call.")


def main():
    what = sys.argv[1]
    cpus = int(os.environ.get("CPUS") or 1)
    # -icount counts one processor's instructions. On two, emulated time is
    # host time: the figures show that it works there, and nothing else.
    counted = cpus == 1
    found = []
    pending = b""

    def line(text):
        if text.startswith("RESULT {"):
            found.append(json.loads(text[7:]))
        else:
            print(text, flush=True)

    def sink(data):
        nonlocal pending
        *lines, pending = (pending + data).split(b"\n")
        for text in lines:
            line(text.decode(errors="replace").rstrip("\r"))

    print(f"  GUEST    {cpus} CPU{'s' * (cpus > 1)}, " + ("-icount: the clock counts instructions" if counted else "no -icount: wall time of an emulator"), flush=True)
    script = "samples/rpal/demo.sh"
    outcome = guest.boot(
        "release", f"exec {script}", cpus=cpus, icount=counted, sink=sink, keep=RESULTS / what,
        env={"RPAL_BIN": str(guest.BUILD / "target/release"), "RPAL_CPUS": str(cpus),
             "RPAL_MESSAGES": os.environ.get("RPAL_MESSAGES") or "1000000"})
    if outcome.status != 0:
        why = outcome.reason or f"{script} ended with status {outcome.status}"
        sys.exit(f"rpal: error: {why}; see build/results/{what}.output.log and {what}.console.log")
    echo = [r for r in found if r.get("bench") == "echo"]
    if not {"uds_epoll", "rpal"} <= {r["mechanism"] for r in echo}:
        sys.exit(f"rpal: error: the demo reported no result for one of the mechanisms; see build/results/{what}.output.log")
    if not counted:
        for row in found:
            if "unit" in row:
                row["unit"] += ", not comparable under TCG"
    elif any(row["unit"] != "guest instructions" for row in echo):
        sys.exit("rpal: error: the guest's clock does not count instructions; see build/results/" + what + ".output.log")
    suffix = "" if counted else f"-{cpus}cpus"
    for name, rows in (("echo" if what == "demo" else what, echo if what == "demo" else found),
                       (f"{what}-all", found)):
        path = RESULTS / f"{name}{suffix}.json"
        path.with_suffix(".tmp").write_text(json.dumps(rows, indent=1) + "\n")
        os.replace(path.with_suffix(".tmp"), path)
    table(echo)
    if not counted:
        print("\n  Not comparable: under TCG the time of two CPUs is the emulator's, and has nothing to do with a machine's.")
    print(f"\n  build/results/{'echo' if what == 'demo' else what}{suffix}.json")


main()
