# One image for every process; fly.toml says which command each group runs.

FROM python:3.11-slim AS builder
RUN python -m venv /opt/venv
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY events events
# Not editable: the final stage has no sources. Constrained: the image runs the versions that were tested.
RUN /opt/venv/bin/pip install --no-cache-dir -c constraints.txt .

# The same base as above: a virtual environment only works with the Python, and at the path, it was made with.
FROM python:3.11-slim
# Unbuffered, or the last lines before a crash never reach the log. No bytecode: pip has compiled the venv, and the user
# below may not write to /app. PYTHONPATH lets `events` find the handlers from every directory, also in an ssh console.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin events
WORKDIR /app
COPY --from=builder /opt/venv /opt/venv
COPY celeryconfig.py flowerconfig.py ./
COPY handlers handlers
# By number, so that an orchestrator can see that it is not root.
USER 10001
# The worker finishes what it runs; give it time: docker stop --timeout 120
STOPSIGNAL SIGTERM
# No ENTRYPOINT: fly.toml's commands would become its arguments. An array, or a shell would swallow the signal.
CMD ["celery", "-A", "events", "worker", "--loglevel=INFO"]
