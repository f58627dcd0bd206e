"""Our own HTTP server for the Chalice app: a greenlet a connection, an adapter that speaks API Gateway's language.

__main__.py   makes the standard library cooperative, before anything else is imported
server.py     the program: its options
listener.py   one process that serves: its listening socket, its connections and their limits, its end
connection.py one connection: read, parse (infra/servers/request_parser.py), answer, write
requests.py   a request before it is anything of API Gateway's
adapter.py    one request to one call of the app and back
routes.py     a path to the route and its parameters
isolation.py  a current request for each request under way
problems.py   the gateway's own answers
"""
