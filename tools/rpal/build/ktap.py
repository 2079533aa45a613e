# SPDX-License-Identifier: GPL-2.0-only
"""Reads TAP and KTAP: what selftests print, and what KUnit logs at boot."""

import re

RESULT = re.compile(r"^(?P<indent>\s*)(?P<not>not )?ok (?P<number>\d+)(?: -)?(?: (?P<name>.*?))?(?:\s*# (?P<directive>SKIP|XFAIL|TODO)\b(?P<why>.*))?$", re.I)
PLAN = re.compile(r"^(?P<indent>\s*)1\.\.(?P<count>\d+)(?:\s*# SKIP(?P<why>.*))?$", re.I)


class Results(list):
    """(name, "pass" | "fail" | "skip", why) for each test there was."""

    def count(self, what):  # pylint: disable=arguments-renamed
        return sum(1 for _, result, _ in self if result == what)

    @property
    def passed(self):
        return self.count("pass")

    @property
    def failed(self):
        return self.count("fail")

    @property
    def skipped(self):
        return self.count("skip")


def read(lines, prefix, status=None):
    """Results of one program's (K)TAP. A line that sums up deeper ones is not a test of its own, unless it
    fails where they did not. Fewer lines than planned, and a bad exit status that no line explains, are failures."""
    found = Results()
    # Per depth: how many results were seen below the line that is to come, and how many of these failed.
    below = {}
    plans, counts = {}, {}
    lowest = None
    for line in lines:
        line = line.rstrip()
        if plan := PLAN.match(line):
            depth = len(plan["indent"])
            plans[depth], counts[depth] = int(plan["count"]), 0
            if plan["count"] == "0":
                found.append((prefix, "skip", (plan["why"] or "").strip()))
            continue
        if not (match := RESULT.match(line)):
            continue
        depth = len(match["indent"])
        lowest = depth if lowest is None else min(lowest, depth)
        counts[depth] = counts.get(depth, 0) + 1
        result = "skip" if (match["directive"] or "").upper() == "SKIP" else "fail" if match["not"] else "pass"
        if match["directive"] and match["directive"].upper() != "SKIP" and result == "fail":
            result = "skip"
        inner = [below.pop(d) for d in list(below) if d > depth]
        name = f"{prefix}: {match['name'] or match['number']}"
        for d in [d for d in plans if d > depth]:
            if counts.get(d, 0) < plans[d]:
                found.append((f"{name}: {plans[d] - counts.get(d, 0)} of {plans[d]} planned tests did not report", "fail", ""))
            del plans[d]
        if not inner or (result == "fail" and not sum(failed for _, failed in inner)):
            found.append((name, result, (match["why"] or "").strip()))
        seen, failed = below.get(depth, (0, 0))
        below[depth] = seen + 1, failed + (result == "fail")
    for depth, planned in plans.items():
        if counts.get(depth, 0) < planned:
            found.append((f"{prefix}: {planned - counts.get(depth, 0)} of {planned} planned tests did not report", "fail", ""))
    if status == 4 and not found:
        found.append((prefix, "skip", "exit status 4"))
    elif status and not found.failed and not (status == 4 and found.skipped):
        found.append((f"{prefix}: exit status {status}", "fail", ""))
    elif status == 0 and not found:
        # A test without TAP says it all by its status.
        found.append((prefix, "pass", ""))
    return found
