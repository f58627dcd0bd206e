"""Entry point of `python -m infra.migrate`."""

import sys

from infra.migrate.cli import main

if __name__ == "__main__":
    sys.exit(main())
