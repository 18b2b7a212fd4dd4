"""The steps of a run: start, break, heal, wait, judge."""

import json
import math
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rigs.chaos.options import Options, parse
from rigs.chaos.plan import Fault, draw, is_brokered
from rigs.chaos.system import System
from rigs.chaos.verdict import Verdict, judge, unfinished
from support import private_servers

SHOWN = 5  # violations of a kind
KINDS = ("lost", "duplicated", "stuck", "ghost", "leaked")


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    console = Console(stderr=options.json)
    if options.plan:
        for mode in options.modes:
            for fault in draw(mode, options.seconds, options.seed):
                console.print(f"{mode:<17}{fault.at:7.1f} s  {fault}", highlight=False)
        return 0
    _obtain_servers(options)
    verdicts = {mode: _run(mode, options, console) for mode in options.modes}
    _show(verdicts, console, options)
    if options.json:
        print(json.dumps({mode: verdict.as_json() for mode, verdict in verdicts.items()}, indent=2))
    if options.control:
        console.print(
            "This was the control: plain Celery, under the same faults. Its violations are no failure of the rig."
        )
        return 0
    return 0 if all(verdict.holds for verdict in verdicts.values()) else 1


def _obtain_servers(options: Options) -> None:
    wanted = {"postgres"} if options.modes != ("sqlite",) else set()
    wanted |= {"redis" if mode == "redis" else "rabbitmq" for mode in options.modes if is_brokered(mode)}
    if missing := wanted - set(private_servers.obtain(sorted(wanted))):
        raise SystemExit(f"scripts/chaos: {', '.join(sorted(missing))} can't be had; see above")


def _run(mode: str, options: Options, console: Console) -> Verdict:
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{mode}-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    what = "plain Celery" if options.control else "events"
    console.print(f"[bold]{mode}[/bold]: {what}, {options.seconds:g} s, seed {options.seed}", highlight=False)
    begun = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - begun:7.1f} s  {escape(line)}", highlight=False)

    faults = draw(mode, options.seconds, options.seed)
    with System(mode, folder, options.seed, control=options.control, say=say) as system:
        begun = time.monotonic()
        _inflict(system, faults, options.seconds, say)
        for producer in system.of("producer"):
            producer.end()
        system.heal()
        for operator in system.of("operator"):
            operator.end()  # resumes what it paused
        say("all is healed, and the producers have stopped; waiting for what is unfinished")
        if not options.control:
            system.ask_for_signs_of_life()
        rest = settle(system, options.settle, say)
        say("nothing is unfinished" if not rest else f"{len(rest)} unfinished")
        files, starts = system.producer_files(), folder / "starts"
        verdict = judge(system.engine, files, starts, rest, folder / "operator.txt", control=options.control)
        if not options.control:
            verdict.leaked = system.vitals.at_rest()
            most = system.vitals.most
            verdict.figures |= {"most descriptors of a process": most.descriptors,
                                "most memory of a process": f"{most.memory:.0f} MiB"}  # fmt: skip
    verdict.figures |= {"faults": len(faults), "faults by kind": dict(Counter(f"{f.kind} {f.target}" for f in faults)),
                        "seconds": round(time.monotonic() - begun, 1)}  # fmt: skip
    if verdict.holds:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        again = f"scripts/chaos --mode {mode} --seconds {options.seconds:g} --seed {options.seed}"
        console.print(f"[red]violated[/red]; logs are in {folder}; replay: {again}"
                      + (" --control celery" if options.control else ""), soft_wrap=True, highlight=False)  # fmt: skip
    return verdict


def _inflict(system: System, faults: Sequence[Fault], seconds: float, say: Callable[[str], None]) -> None:
    begun, threads = time.monotonic(), []

    def inflict(fault: Fault) -> None:
        try:
            system.inflict(fault)
        except Exception as error:
            say(f"{fault} did not work: {error}")

    for fault in faults:
        time.sleep(max(0.0, fault.at - (time.monotonic() - begun)))
        say(str(fault))
        threads.append(threading.Thread(target=inflict, args=(fault,), daemon=True))
        threads[-1].start()
    time.sleep(max(0.0, seconds - (time.monotonic() - begun)))
    for thread in threads:
        thread.join()


def settle(system: System, within: float, say: Callable[[str], None]) -> list[str]:
    """Wait until nothing is unfinished; what still is when none of it was finished for `within` seconds.

    On a machine that is busy with other things a backlog takes its time, and is not stuck.
    """
    engine, moved, told = system.engine, time.monotonic(), 0.0
    quiet, least = 0, math.inf
    while True:
        if system.control:  # plain Celery has no ledger to ask: an empty queue, for a while
            with suppress(Exception):
                quiet = quiet + 1 if system.waiting() == 0 else 0
            rest = [] if quiet >= 25 else ["messages wait in the queue or in workers' hands"]
        else:
            rest = unfinished(engine)
        now = time.monotonic()
        if len(rest) < least:
            moved, least = now, len(rest)
        if not rest or now - moved > within:
            engine.dispose()
            return rest
        if now - told >= 5:
            told = now
            say(f"{len(rest)} unfinished")
        time.sleep(0.2)


def _show(verdicts: dict[str, Verdict], console: Console, options: Options) -> None:
    title = f"{'Plain Celery' if options.control else 'Verdict'}: {options.seconds:g} s of faults, seed {options.seed}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for mode in verdicts:
        table.add_column(mode, justify="right")
    every = list(verdicts.values())
    for name in KINDS:
        counts = [len(getattr(verdict, name)) for verdict in every]
        label = "EFFECT-DUPLICATED" if name == "duplicated" else name.upper()
        table.add_row(f"[bold]{label}[/bold]", *(f"[red]{count}[/red]" if count else "0" for count in counts))
    for name in [name for name in every[0].figures if name != "faults by kind"]:
        table.add_row(name, *(str(verdict.figures.get(name, "")) for verdict in every))
    console.print(table)
    for mode, verdict in verdicts.items():
        for name in KINDS:
            found = getattr(verdict, name)
            for line in found[:SHOWN]:
                console.print(f"{mode}: {name}: {escape(line)}", highlight=False)
            if len(found) > SHOWN:
                console.print(f"{mode}: {name}: and {len(found) - SHOWN} more", highlight=False)
