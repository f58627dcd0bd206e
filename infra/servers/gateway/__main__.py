"""`python -m infra.servers.gateway`."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402 - nothing may be imported before it is patched

from infra.servers.gateway.server import main  # noqa: E402

sys.exit(main())
