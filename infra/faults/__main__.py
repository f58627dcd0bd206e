"""`python -m infra.faults`."""

import sys

from infra.faults.cli import main

if __name__ == "__main__":
    sys.exit(main())
