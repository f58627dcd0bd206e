"""The HTTP interface: routes, problems, authentication."""
