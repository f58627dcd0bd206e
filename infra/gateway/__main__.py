"""`python -m infra.gateway`."""

import sys

from infra.gateway.server import main

sys.exit(main())
