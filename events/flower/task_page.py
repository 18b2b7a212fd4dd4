"""Flower's own page of a task, which links to the root of the task: the root of our tasks is their event."""

from uuid import UUID

from flower.utils.tasks import get_task_by_id
from flower.views.tasks import TaskView
from tornado.web import HTTPError, authenticated

from events.flower.backend import Backend


class TaskPage(TaskView):  # type: ignore[misc]
    """/task/<id>. If Flower knows no task of this id, and an event has the id, redirects to the page of the event."""

    def initialize(self, backend: Backend) -> None:
        self.backend = backend

    @authenticated
    async def get(self, task_id: str) -> None:
        if get_task_by_id(self.application.events, task_id) is None and await self._is_event(task_id):
            self.redirect(self.reverse_url("ledger_event", task_id))
            return
        super().get(task_id)

    async def _is_event(self, text: str) -> bool:
        try:
            wanted = UUID(text)
            await self.backend.ask(lambda pipeline: pipeline.history.event(wanted))
        except (ValueError, HTTPError):
            return False
        return True
