"""Actions on single deliveries: those that the user ticked, or the delivery beside the button."""

from uuid import UUID

from events.flower.complaints import Complaint
from events.flower.events_tab import event_id_of
from events.flower.page import Action, authenticated
from events.ledger import DeadLetterFilter
from events.pipeline import Pipeline
from events.text import plural

DONE = {"replay": "replayed", "discard": "discarded", "restore": "restored"}
ANOTHER_OPERATOR = "another operator replayed or discarded"
MOST = 1000  # deliveries in one form; our forms have fifty


class TickedAction(Action):
    """POST /dead-letters/selected: `do` is the action, each `letter` the id of an event, a space, and a handler."""

    tab = "letters"

    @authenticated
    async def post(self) -> None:
        verb, actor = self.field("do"), self.actor()
        if verb not in DONE:
            raise Complaint(400, f"{verb[:40]!r} is not an action; use {', '.join(DONE)}")
        chosen = by_handler(self.get_body_arguments("letter", strip=False))
        wanted = sum(map(len, chosen.values()))
        if not wanted:
            self.say("You ticked no dead letter, so nothing was done.", well=False)
        else:
            count = await self.backend.ask(lambda pipeline: act(pipeline, verb, chosen, actor))
            self.backend.changed()
            self.say(sentence(verb, count, wanted, actor), well=count > 0)
        self.back("ledger_letters")


def by_handler(letters: list[str]) -> dict[str, list[UUID]]:
    """Ids of events by handler. Raises Complaint if a letter is not one of ours, or there are too many."""
    if len(letters) > MOST:
        raise Complaint(400, f"a form can act on {MOST} dead letters; use a filter to act on more")
    chosen: dict[str, list[UUID]] = {}
    for letter in letters:
        event_id, _, handler = letter.partition(" ")
        chosen.setdefault(handler, []).append(event_id_of(event_id))
    return chosen


def act(pipeline: Pipeline, verb: str, chosen: dict[str, list[UUID]], actor: str) -> int:
    """Replay, discard or restore the deliveries whose state is still the same; how many it changed."""
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
    """What an action did to `count` of the `wanted` deliveries, and why it left the others alone."""
    noun, nouns = (
        ("discarded delivery", "discarded deliveries") if verb == "restore" else ("dead letter", "dead letters")
    )
    done = f"{actor} {DONE[verb]} {plural(count, noun, nouns)}." if count else f"Nothing was {DONE[verb]}."
    rest = wanted - count
    if not rest:
        return done
    others, them = plural(rest, noun, nouns), "it" if rest == 1 else "them"
    if verb == "restore":
        why = f"another operator restored {them} already, or `events dead edit` made a corrected copy of {them}"
        return f"{done} {others} can't be restored: {why}."
    return f"{done} {others} {'was' if rest == 1 else 'were'} gone already: {ANOTHER_OPERATOR} {them}."
