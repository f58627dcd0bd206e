"""`python -m infra.gateway`."""

from infra.gateway.server import main

main()
