#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Shows that the selftests find what they are there to find. For mutants.sh.

mutants.py list REGEX            names of the mutants that apply; an error if one does not
mutants.py check TREE            do all mutants apply to that kernel source, and are there their tests?
mutants.py control REGEX BEGIN   the tests that must find these, on the kernel without a mutant
mutants.py run NAME BEGIN SINCE  the same for one mutant; the kernel is built
mutants.py broken NAME BEGIN SINCE   it could not be built
mutants.py report REGEX BEGIN    the table, build/results/mutants.json, and the exit status

BEGIN and SINCE are the times at which it all began, and this mutant, in seconds. What one call finds out lies in
build/results/mutants/ for those that come after it.
"""

import collections
import json
import os
import pathlib
import re
import sys
import time

import guest
import hazards
import klog
import ktap
import mutation
import test

RESULTS = test.RESULTS / "mutants"


def selected(regex):
    found = [name for name in mutation.names() if re.search(regex, name)]
    if not found:
        sys.exit(f"rpal: error: no mutant's name matches {regex!r}")
    return found


def read(name):
    try:
        return mutation.read(name)
    except mutation.Broken as e:
        sys.exit(f"rpal: error: {e}")


def check(tree):
    """How many mutants are broken, each with a line that says why."""
    bad = 0
    known = hazards.tests()
    for name in mutation.names():
        try:
            mutant = mutation.read(name)
            for program, test_name in mutant.tests:
                if test_name not in known.get(program, ()):
                    raise mutation.Broken(f"{name}: {program} has no test {test_name}")
            for path in mutant.edits:
                mutation.edited(mutant, path, (pathlib.Path(tree) / path).read_text(encoding="utf-8"))
        except (mutation.Broken, FileNotFoundError) as e:
            print(e)
            bad += 1
    return bad


def put(name, document):
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json.tmp").write_text(json.dumps(document, indent=1) + "\n")
    os.replace(RESULTS / f"{name}.json.tmp", RESULTS / f"{name}.json")


def get(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def clock(begin):
    elapsed = int(time.time() - float(begin))
    return f"[{elapsed // 60:3}:{elapsed % 60:02}]"


def run_tests(tests, cpus, keep):
    """Runs (program, test)s alone in a new guest. Returns their results, where there is one, and the outcome."""
    programs = collections.defaultdict(list)
    for program, name in tests:
        programs[program].append(name)
    options = {program: " ".join(f"-t {name}" for name in names) for program, names in programs.items()}
    outcome = test.Cell("mutant", cpus).boot(test.script(programs, options), keep=RESULTS / keep)
    found = {}
    for program, (lines, status) in test.split(outcome.output, programs).items():
        for line, result, _ in ktap.read(lines, program, status):
            # PROGRAM: FIXTURE.VARIANT.TEST; one variant that fails is enough.
            key = program, line.rsplit(".", 1)[-1]
            if key in tests and found.get(key) != "fail":
                found[key] = result
    return found, outcome


def ended(outcome):
    """How the guest ended, if not by itself; None if that is no fault of the kernel's."""
    reason = outcome.reason or ""
    for sign, how in (("hung", "hangs"), ("panic", "panics"), ("stopped", "panics")):
        if sign in reason:
            return how
    return None


def control(regex, begin):
    """What fails without a mutant proves nothing."""
    wanted = collections.defaultdict(set)
    for name in selected(regex):
        mutant = read(name)
        wanted[mutant.cpus] |= set(mutant.tests)
    document = {}
    for cpus, tests in sorted(wanted.items()):
        results, rest = {}, sorted(tests)
        while rest:
            found, outcome = run_tests(rest, cpus, f"control-{cpus}cpu")
            results |= found
            rest = [key for key in rest if key not in results]
            if rest and outcome.reason:
                # The program that took the guest along is not asked again.
                results |= {key: outcome.reason for key in rest if key[0] == rest[0][0]}
            elif rest:
                results |= {key: "there is no such test" for key in rest}
            rest = [key for key in rest if key not in results]
        bad = [f"{': '.join(key)} ({result})" for key, result in sorted(results.items()) if result != "pass"]
        print(f"{clock(begin)} without a mutant, {cpus} CPUs: {len(tests) - len(bad)} of {len(tests)} tests pass", flush=True)
        for line in bad:
            print(f"          not ok {line}", flush=True)
        document |= {f"{cpus} {': '.join(key)}": result for key, result in results.items()}
    put("control", document)


def judge(mutant):
    """Builds on the kernel that is there: what the mutant's tests say."""
    before = get("control")
    for key in mutant.tests:
        if (was := before.get(f"{mutant.cpus} {': '.join(key)}")) != "pass":
            return "error", f"{': '.join(key)}, without the mutant: {was}", {}
    found, outcome = run_tests(mutant.tests, mutant.cpus, mutant.name)
    tests = {": ".join(key): found.get(key, "none") for key in mutant.tests}
    how = ended(outcome)
    if "@begin" not in outcome.output or (outcome.reason and not how):
        return "error", f"the guest came to no test: {outcome.reason}", tests
    reports = klog.reports(outcome.console)
    seen = [name for name, result in tests.items() if result == "fail"]
    missed = [name for name, result in tests.items() if result in ("pass", "skip") or (result == "none" and not how)]
    if missed:
        return "not found", ", ".join(f"{name}: {tests[name]}" for name in missed), tests
    why = [", ".join(seen)] if seen else []
    if how:
        why.append(f"the guest {how} in {next((n for n, r in tests.items() if r == 'none'), 'the end')}")
    if reports:
        why.append(f"log: {reports[0]}")
    return "found", "; ".join(why), tests


def note(mutant, begin, since, verdict):
    result, why, tests = verdict
    seconds = time.time() - float(since)
    put(mutant.name, {"mutant": mutant.name, "reason": mutant.reason, "result": result, "why": why,
                      "tests": tests, "seconds": round(seconds)})
    print(f"{clock(begin)} {mutant.name}: {result} ({seconds:.0f} s): {why}", flush=True)


def why_broken(name):
    """The line of the build's output that says why there is no kernel."""
    log = (RESULTS / f"{name}.build.log").read_text(errors="replace")
    line = re.search(r"^(rpal: error|.*\berror\b).*", log, re.M)
    return line[0].removeprefix("rpal: error: ") if line else f"see build/results/mutants/{name}.build.log"


def report(regex, begin):
    results = [get(name) for name in selected(regex)]
    count = collections.Counter(r.get("result") for r in results)
    print()
    for r in results:
        print(f"{r['result']:9}  {r['mutant']:24}  {r['reason']}")
    document = {
        "found": count["found"], "not_found": count["not found"], "errors": count["error"],
        "seconds": round(time.time() - float(begin)), "mutants": results,
    }
    (test.RESULTS / "mutants.json.tmp").write_text(json.dumps(document, indent=1) + "\n")
    os.replace(test.RESULTS / "mutants.json.tmp", test.RESULTS / "mutants.json")
    print(f"{count['found']} found, {count['not found']} not found, {count['error']} errors", flush=True)
    return 0 if count["found"] == len(results) else 1


def main():
    match sys.argv[1:]:
        case ["list", regex]:
            print("\n".join(read(name).name for name in selected(regex)))
        case ["check", tree]:
            sys.exit(1 if check(tree) else 0)
        case ["control", regex, begin]:
            control(regex, begin)
        case ["run", name, begin, since]:
            mutant = read(name)
            verdict = judge(mutant)
            note(mutant, begin, since, verdict)
        case ["broken", name, begin, since]:
            note(read(name), begin, since, ("error", why_broken(name), {}))
        case ["report", regex, begin]:
            sys.exit(report(regex, begin))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
