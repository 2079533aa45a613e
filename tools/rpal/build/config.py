#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Checks that a .config has what the fragments ask for.

config.py check CONFIG FRAGMENT...

Kconfig drops a symbol silently whose dependencies are not met, or that has no
prompt; a kernel without it would then fail a test for no visible reason.
config.py merge FRAGMENT... prints the fragments as one, last word winning.
"""

import re
import sys


def read(paths):
    symbols = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if match := re.match(r"(CONFIG_\w+)=(.*)$", line):
                    symbols[match[1]] = match[2]
                elif match := re.match(r"# (CONFIG_\w+) is not set$", line):
                    symbols[match[1]] = "n"
    return symbols


def main():
    if sys.argv[1] == "merge":
        for name, value in read(sys.argv[2:]).items():
            print(f"# {name} is not set" if value == "n" else f"{name}={value}")
        return
    have = read([sys.argv[2]])
    wrong = [
        f"{name} is {have.get(name, 'n')}, not {value}"
        for name, value in read(sys.argv[3:]).items()
        if have.get(name, "n") != value
    ]
    if wrong:
        sys.exit("rpal: error: the kernel's Kconfig does not grant what rpal/configs/ asks for: " + "; ".join(wrong))


main()
