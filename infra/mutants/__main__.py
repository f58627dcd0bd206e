"""`python -m infra.mutants`: see `infra/mutants/cli.py`."""

import sys

from infra.mutants.cli import main

sys.exit(main())
