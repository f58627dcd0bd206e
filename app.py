"""The Chalice app: routes and schedules are registered here; what they do lives in chalicelib."""

from chalicelib.http.app import TradingApp
from chalicelib.http.routes import method_problems, routes

app = TradingApp(app_name="day-trading")
app.register_middleware(method_problems, "http")
app.register_blueprint(routes)
