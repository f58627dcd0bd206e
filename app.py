"""The Chalice app: routes and schedules are registered here; what they do lives in chalicelib."""

from chalice import Chalice

app = Chalice(app_name="day-trading")
