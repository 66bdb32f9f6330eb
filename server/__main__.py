"""`python -m server`: the command line from a checkout."""

from __future__ import annotations

import sys

from server.commands import main

if __name__ == "__main__":
    sys.exit(main())
