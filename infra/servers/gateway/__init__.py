"""Our HTTP server for the Chalice app: one greenlet per connection, and an adapter that acts as API Gateway.

__main__.py   makes the standard library cooperative, before anything else is imported
server.py     the program: its options
listener.py   one serving process: its listening socket, its connections and their limits, its end
connection.py one connection: read, parse (infra/servers/request_parser.py), answer, write
requests.py   an HTTP request, before it becomes an event
adapter.py    one request to one call of the app and back
routes.py     a path to the route and its parameters
isolation.py  a current request for each request in progress
problems.py   the gateway's own answers
"""
