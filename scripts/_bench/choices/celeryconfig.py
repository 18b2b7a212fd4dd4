"""What an application may choose, and both sides choose alike: what is compared is not Flower's share."""

worker_send_task_events = False
