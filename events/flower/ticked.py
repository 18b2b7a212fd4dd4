"""What is done to single deliveries: those that were ticked, or the one beside the button."""

from uuid import UUID

from events.flower.complaints import Complaint
from events.flower.events_tab import event_id_of
from events.flower.formats import plural
from events.flower.page import Action, authenticated
from events.ledger import DeadLetterFilter
from events.pipeline import Pipeline

DONE = {"replay": "replayed", "discard": "discarded", "restore": "restored"}
MOST = 1000  # a form of ours has fifty


class TickedAction(Action):
    """POST /dead-letters/selected: `do` is what; each `letter` an event's id and a handler, with a space between."""

    tab = "letters"

    @authenticated
    async def post(self) -> None:
        verb, actor = self.field("do"), self.actor()
        if verb not in DONE:
            raise Complaint(400, f"{verb[:40]!r} is nothing that can be done; use {', '.join(DONE)}")
        chosen = by_handler(self.get_body_arguments("letter", strip=False))
        wanted = sum(map(len, chosen.values()))
        if not wanted:
            self.say("Nothing was ticked, so nothing was done.", well=False)
        else:
            count = await self.backend.ask(lambda pipeline: act(pipeline, verb, chosen, actor))
            self.backend.changed()
            self.say(sentence(verb, count, wanted, actor), well=count > 0)
        self.back("ledger_letters")


def by_handler(letters: list[str]) -> dict[str, list[UUID]]:
    """Raises Complaint."""
    if len(letters) > MOST:
        raise Complaint(400, f"{MOST} at a time; replay or discard what matches a filter instead")
    chosen: dict[str, list[UUID]] = {}
    for letter in letters:
        event_id, _, handler = letter.partition(" ")
        chosen.setdefault(handler, []).append(event_id_of(event_id))
    return chosen


def act(pipeline: Pipeline, verb: str, chosen: dict[str, list[UUID]], actor: str) -> int:
    """How many were; what is no longer as it was on the page is left alone."""
    letters, count = pipeline.dead_letters, 0
    for handler, ids in chosen.items():
        wanted = DeadLetterFilter(handler=handler, event_ids=ids)
        if verb == "replay":
            count += letters.replay(wanted, actor)
        elif verb == "discard":
            count += letters.discard(wanted, actor)
        else:
            count += letters.restore(wanted, actor)
    return count


def sentence(verb: str, count: int, wanted: int, actor: str) -> str:
    if not count:
        return f"Nothing was {DONE[verb]}: somebody was faster, or it has been done already."
    rest = wanted - count
    others = "" if not rest else f" The other {rest:,} {'was' if rest == 1 else 'were'} no longer there to be."
    return f"{plural(count, 'delivery', 'deliveries')} {DONE[verb]} by {actor}.{others}"
