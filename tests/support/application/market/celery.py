"""The team's `celery.py`. Two of its lines are new: the second import, and the last one."""

from celery import Celery

import events

app = Celery("market", task_cls="market.noted:Noted")
app.config_from_object("market.settings")
app.autodiscover_tasks(["market"])

events.install(app)
