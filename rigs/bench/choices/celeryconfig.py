"""What an application may choose, and both sides choose alike: task events, without which Flower sees nothing."""

import os

# Without a broker nobody could hear them.
worker_send_task_events = bool(os.environ["BENCH_BROKER_URL"]) and os.environ.get("BENCH_TASK_EVENTS", "on") == "on"
