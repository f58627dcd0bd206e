"""Runs the command line."""

import sys

from infra.cloud.cli import main

sys.exit(main())
