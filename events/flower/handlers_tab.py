"""Handlers: the workers that have each, its waiting deliveries, its pace; pause and resume."""

from collections.abc import Callable

from events.flower.complaints import Complaint, complaint_of
from events.flower.jobs import Tell, TooMany
from events.flower.page import Action, Page, authenticated
from events.ledger import State

AT_ONCE = 1.0  # seconds that the answer waits for the job: holding back a large backlog takes longer


class HandlersTab(Page):
    """/event-handlers"""

    tab = "handlers"

    @authenticated
    async def get(self) -> None:
        standing = await self.backend.standing()
        handlers = standing.overview.handlers if standing.overview else ()
        self.show("ledger-handlers.html", standing=standing, handlers=handlers, State=State)


class SwitchAction(Action):
    """POST /event-handlers/pause and /event-handlers/resume"""

    tab = "handlers"

    @authenticated
    async def post(self, verb: str) -> None:
        handler, actor = self.field("handler"), self.actor()
        if not handler:
            raise Complaint(400, "the form names no handler; open the page Handlers again")
        work = self._pause(handler, actor) if verb == "pause" else self._resume(handler, actor)
        try:
            job = self.backend.jobs.start(f"{verb} {handler}", f"{verb.capitalize()} {handler}", actor, work)
        except TooMany as error:
            raise Complaint(409, str(error)) from None
        if not await self.backend.ended(job, AT_ONCE):
            self.say(f"{job.title}: {job.actor} began this job; its progress is below.")
        elif job.error is not None:
            raise complaint_of(job.error)
        else:
            self.say(f"{job.title}: {job.said}")
        self.back("ledger_handlers")

    def _pause(self, handler: str, actor: str) -> Callable[[Tell], str]:
        def work(tell: Tell) -> str:
            changed = self.backend.pipeline().upkeep.pause(handler, actor, lambda done: tell(done, None))
            return f"{actor} paused the handler; its deliveries wait." if changed else "the handler was paused already."

        return work

    def _resume(self, handler: str, actor: str) -> Callable[[Tell], str]:
        def work(_: Tell) -> str:
            changed = self.backend.pipeline().upkeep.resume(handler, actor)
            return f"{actor} resumed the handler." if changed else "the handler was not paused."

        return work
