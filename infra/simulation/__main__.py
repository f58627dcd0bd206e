"""`python -m infra.simulation`."""

import sys

from infra.simulation.cli import main

if __name__ == "__main__":
    sys.exit(main())
