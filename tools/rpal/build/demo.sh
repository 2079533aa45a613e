#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# demo.sh demo|bench: from whatever is there to the table of what a message costs.

. "$(dirname "$0")/common.sh"

begin=$SECONDS
"$HERE/setup.sh"
kernel release
say CARGO "tools/rpal, samples/rpal"
"$HERE/user.sh" crates
say BUILT "after $(((SECONDS - begin) / 60)) min $(((SECONDS - begin) % 60)) s"
exec "$HERE/enter" python3 "$HERE/demo.py" "$1"
