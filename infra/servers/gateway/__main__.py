"""`python -m infra.servers.gateway`."""

import sys

from infra.servers.gateway.server import main

sys.exit(main())
