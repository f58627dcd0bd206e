"""`python -m infra.bench`."""

import sys

from infra.bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
