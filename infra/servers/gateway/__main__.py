"""`python -m infra.servers.gateway`."""

from gevent import monkey

monkey.patch_all()

from infra.servers.gateway.server import main  # noqa: E402 - nothing may be imported before it is patched

main()
