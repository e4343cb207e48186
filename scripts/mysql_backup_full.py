#!/usr/bin/env python3
"""Take a backup of type full of this host's MySQL, if it is this host's turn.

Exit status: 0 done, 2 usage, 3 configuration, 4 a tool failed, 5 storage, 6 another run is at work, 75 not this
host's turn.
"""

from __future__ import annotations

import sys

from holdfast.backup import command_line

if __name__ == "__main__":
    sys.exit(command_line.run("full", __doc__))
