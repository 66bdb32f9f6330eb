"""The entry point of the desktop bundle: the stdio server of the installed package."""

from __future__ import annotations

import sys

from gpubroker import main

if __name__ == "__main__":
    sys.argv[1:] = ["stdio"]
    sys.exit(main())
