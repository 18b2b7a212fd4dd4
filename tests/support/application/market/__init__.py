"""A Celery application that was there before its team heard of events: plain tasks in two queues, beat, results."""
