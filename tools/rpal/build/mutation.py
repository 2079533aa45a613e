# SPDX-License-Identifier: GPL-2.0-only
"""Mutants: small patches, each of which takes out one thing that selftests guard.

A file of tools/testing/rpal-mutants/ is a unified diff below a header:

    SPDX-License-Identifier: GPL-2.0-only
    One sentence: what is wrong with this kernel.
    Test: PROGRAM: TEST[, TEST]         must fail; as many such lines as there are programs
    CPUS: N                             of the guest, 2 if not given

Line numbers mean nothing: the lines of a hunk, as they were, must be in the file exactly once.
So a mutant survives changes around it, and never hits another place than the one meant.
"""

import dataclasses
import pathlib
import re

DIRECTORY = pathlib.Path(__file__).resolve().parents[3] / "tools/testing/rpal-mutants"


class Broken(Exception):
    """The mutant is no mutant of this kernel."""


@dataclasses.dataclass
class Mutant:
    """What one patch says."""

    name: str
    reason: str = ""
    # (program, test)
    tests: list = dataclasses.field(default_factory=list)
    cpus: int = 2
    # Path in the kernel tree -> [(lines as they were, lines as they shall be)]
    edits: dict = dataclasses.field(default_factory=dict)


def names():
    return sorted(path.stem for path in DIRECTORY.glob("*.patch"))


def read(name):
    mutant = Mutant(name)
    path = DIRECTORY / f"{name}.patch"
    if not path.exists():
        raise Broken(f"there is no {path.name} in {path.parent}")
    header, _, diff = path.read_text(encoding="utf-8").partition("\n--- a/")
    for line in header.splitlines():
        if test := re.match(r"Test: (\w+): (\w+(?:, \w+)*)$", line):
            mutant.tests += [(test[1], name) for name in test[2].split(", ")]
        elif cpus := re.match(r"CPUS: (\d+)$", line):
            mutant.cpus = int(cpus[1])
        elif line and not line.startswith("SPDX-License-Identifier:"):
            if re.match(r"\w+:", line) or mutant.reason.endswith("."):
                raise Broken(f"{path.name}: what is “{line}”?")
            mutant.reason = f"{mutant.reason} {line}".strip()
    if not mutant.reason or not mutant.tests or not diff:
        raise Broken(f"{path.name}: a reason, a Test: line and a unified diff are needed")
    hunks = None
    for line in f"--- a/{diff}".splitlines(keepends=True):
        if file := re.match(r"--- a/(\S+)", line):
            hunks = mutant.edits.setdefault(file[1], [])
        elif line.startswith("@@"):
            hunks.append(("", ""))
        elif hunks and line[0] in " -+\n":
            old, new = hunks[-1]
            text = line[1:] or line
            hunks[-1] = (old if line[0] == "+" else old + text, new if line[0] == "-" else new + text)
    return mutant


def edited(mutant, path, text):
    """The text of one file, with the mutant's changes in it."""
    for old, new in mutant.edits[path]:
        # At the beginning of a line.
        found = f"\n{text}".count(f"\n{old}")
        if found != 1:
            line = next((l for l in old.splitlines() if l.strip()), "").strip()
            raise Broken(f"{mutant.name} does not apply: the lines around “{line}” are {found} times in {path}")
        text = f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]
    return text
