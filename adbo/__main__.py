"""The entry point of ``python -m adbo``."""

import sys

from adbo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
