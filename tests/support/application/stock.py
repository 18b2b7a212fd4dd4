"""A plain Celery application that knows nothing of this package: its tasks note what they get."""

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Queue

app = Celery("stock", broker=os.environ["EVENTS_BROKER_URL"])
# That it is a quorum queue, where there are such, Celery has to be told, or it asks for what these don't do.
queue = Queue(os.environ["EVENTS_QUEUE"], no_declare=True, queue_arguments={"x-queue-type": "quorum"})
app.conf.update(task_queues=[queue], task_ignore_result=True)


@app.task(name="counts", bind=True)
def counts(self: Any, **keywords: Any) -> None:
    with Path(os.environ["SHOP_STARTS"]).open("a") as file:
        file.write(json.dumps({"id": self.request.id, "root": self.request.root_id, "keywords": keywords}) + "\n")
