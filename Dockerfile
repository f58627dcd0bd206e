# The gateway, a server for the same app that runs in Lambda; also the ticker (python -m infra.servers.ticker).
FROM python:3.11-slim

WORKDIR /srv
COPY requirements.txt requirements-dev.txt constraints.txt ./
# The versions are those that are tested, from the one place that names them.
RUN grep -E '^(chalice|greenlet|httptools|uvloop|prometheus-client|boto3|psutil)==' requirements-dev.txt > server.txt \
    && pip install --no-cache-dir --requirement requirements.txt --requirement server.txt --constraint constraints.txt \
    && useradd --system --no-create-home trading
COPY app.py ./
COPY chalicelib chalicelib
COPY infra infra

USER trading
EXPOSE 8000
CMD ["python", "-m", "infra.servers.gateway", "--host", "0.0.0.0", "--port", "8000", "--workers", "1"]
