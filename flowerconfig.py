"""For Flower, which runs this file when it starts here: `celery -A events flower`.

https://flower.readthedocs.io/en/latest/config.html
"""

from events.flower import install

install()  # the tabs Events, Dead letters and Handlers

# Flower keeps tasks in memory. The ledger has their history, so a few are enough.
max_tasks = 10_000
max_workers = 500
