"""`python -m infra.quote_server`."""

import sys

from infra.quote_server.cli import main

sys.exit(main())
