"""Runs the command line."""

import sys

from infra.audit.cli import main

sys.exit(main())
