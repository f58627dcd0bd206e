# The gateway, a server for the same app that runs in Lambda; also the ticker (python -m infra.servers.ticker).
FROM python:3.11-slim

WORKDIR /srv
# The versions are those that are tested: `make lock` writes them.
COPY requirements-server.txt requirements-observing.txt ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements-server.txt --requirement requirements-observing.txt \
    && useradd --system --no-create-home trading
COPY app.py ./
COPY chalicelib chalicelib
COPY infra infra

USER trading
EXPOSE 8000
CMD ["python", "-m", "infra.servers.gateway", "--host", "0.0.0.0", "--port", "8000"]
