#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Do the tests exist that the table of hazards names?

The last column of Documentation/arch/x86/rpal-hazards.rst names selftests as
``program: test``, further ones of that program as ``test`` alone, and tests in
Rust as ``module: test``. A renamed test must not leave a hazard without one.
"""

import fnmatch
import pathlib
import re
import sys

REPO = pathlib.Path(__file__).resolve().parents[3]
TABLE = REPO / "Documentation/arch/x86/rpal-hazards.rst"
PLACES = ["tools/testing/selftests/rpal", "tools/testing/rpal-host", "tools/rpal", "rpal"]


def tests():
    """Program or module: the names of its tests."""
    found = {}
    for place in PLACES:
        for path in (REPO / place).rglob("*.[cr]*"):
            if path.suffix not in (".c", ".rs") or "target" in path.parts:
                continue
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".c":
                names = re.findall(r"^\t?(?:(?:\w+_)?TEST(?:_AS|_F\(\w+)?|COLUMN)[(,] ?(\w+)", text, re.M)
            else:
                names = re.findall(r"^\s*fn (\w+)\(", text, re.M)
            module = path.parent.name if path.stem == "mod" else path.stem
            # A suite of KUnit is run as a whole.
            for name in [module, *re.findall(r"#\[kunit_tests\((\w+)\)\]", text)]:
                found.setdefault(name, set()).update(names)
    return found


def rows():
    """Line number, id and last column of each row."""
    text = TABLE.read_text(encoding="utf-8")
    for row in re.finditer(r"^   \* - (\S+)\n((?:     .*\n)+)", text, re.M):
        columns = re.split(r"^     -", row[2], flags=re.M)
        if row[1] != "Id" and len(columns) == 4:
            yield text.count("\n", 0, row.start()) + 1, row[1], " ".join(columns[3].split())


def main():
    known = tests()
    bad = seen = 0
    ids = set()
    for number, name, column in rows():
        wrong = ["the id is there twice"] if name in ids else []
        ids.add(name)
        program = None
        for word in re.findall(r"``([^`]+)``", column):
            program_here, colon, test = word.rpartition(": ")
            if colon:
                program = program_here.removesuffix(".rs")
                seen += 1
                if program not in known:
                    wrong.append(f"no program or module {program}")
                elif not fnmatch.filter(known[program], test):
                    wrong.append(f"{program} has no test {test}")
            elif re.fullmatch(r"rpal_[a-z]+", word):
                program = word
                seen += 1
                if program not in known:
                    wrong.append(f"no program {program}")
            elif program in known and re.fullmatch(r"[a-z0-9_*]+", word):
                seen += 1
                if not fnmatch.filter(known[program], word):
                    wrong.append(f"{program} has no test {word}")
        for what in wrong:
            print(f"{TABLE.name}:{number}: {name}: {what}")
            bad += 1
    if not ids or not seen:
        sys.exit("the table could not be read")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
