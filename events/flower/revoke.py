"""Flower's buttons Revoke and Terminate: they show the workers' answer, and the history shows the operator."""

from typing import Any

from flower.api.control import TaskRevoke
from tornado.web import authenticated

from events.flower.access import actor, why_actions_are_off

_ANSWER_WITHIN = 2.0  # seconds
_NO_ANSWER = "no worker answered"


class Revoke(TaskRevoke):  # type: ignore[misc]
    """/api/task/revoke/<id>. Our tasks are deliveries, and the workers decide whether to end them."""

    @authenticated
    async def post(self, task_id: str) -> None:
        options = self.application.options
        if reason := why_actions_are_off(options):
            self._say(403, reason)
            return
        asked = {
            "task_id": task_id,
            "terminate": self.get_argument("terminate", "false").lower() in ("true", "1"),
            "signal": self.get_argument("signal", "SIGTERM"),
            "actor": actor(options, self.current_user, self.request.headers.get("Authorization", "")),
        }
        answers = await self.run_blocking("task.revoke", task_id, self._ask, asked)
        replies = [reply for answer in answers or () for reply in answer.values() if isinstance(reply, dict)]
        if done := [reply["ok"] for reply in replies if "ok" in reply]:
            self.write({"message": done[0]})
        else:
            self._say(409, next((reply["error"] for reply in replies if "error" in reply), _NO_ANSWER))

    def _ask(self, asked: dict[str, Any]) -> Any:
        return self.capp.control.broadcast("revoke", arguments=asked, reply=True, timeout=_ANSWER_WITHIN)

    def _say(self, status: int, text: str) -> None:
        """Flower's page shows this text unchanged."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(text)
