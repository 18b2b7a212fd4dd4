"""What `scripts/servers` starts: runs a command with the servers of a keeper."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:1] = [str(HERE.parents[1])]  # instead of this folder, whose modules are `support.private_servers.*`

from support import private_servers  # noqa: E402
from support.private_servers.installing import obtain, say  # noqa: E402
from support.private_servers.keeper import keep  # noqa: E402
from support.private_servers.known import SERVERS  # noqa: E402


def run(command: Sequence[str], names: Sequence[str]) -> int:
    """The command's exit code, as a shell would give it."""
    keep_them = [sys.executable, str(HERE), "--keep", "--only", ",".join(names)]
    keeper = subprocess.Popen(
        keep_them, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True
    )
    assert keeper.stdin
    assert keeper.stdout
    try:
        if not (report := keeper.stdout.readline()):
            return 1
        # From now on Ctrl-C is for the command, which has the terminal, too. (Not SIG_IGN: that would be inherited.)
        signal.signal(signal.SIGINT, lambda *_: None)
        process = subprocess.Popen(command, env=os.environ | json.loads(report))
        keeper.stdin.write(f"{process.pid}\n")
        try:
            status = process.wait()
        except SystemExit as signalled:
            process.send_signal(int(str(signalled.code)) - 128)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            raise
        finally:
            keeper.stdin.write("done\n")
        return status if status >= 0 else 128 - status
    except OSError as error:
        say(f"{command[0]}: {error.strerror}")
        return 127
    finally:
        keeper.stdin.close()
        keeper.wait()


def leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        usage="scripts/servers [--only NAME,...] -- COMMAND...", description=private_servers.__doc__
    )
    parser.add_argument("--only", default=",".join(SERVERS), metavar="NAME,...", help="of: %(default)s")
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, command = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    names = [name for name in options.only.split(",") if name]
    if unknown := set(names) - set(SERVERS):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    if not command and not options.keep:
        parser.error("no command")

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs without it
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup's wish
            signal.signal(number, leave)
    try:
        if options.keep:
            return keep(names)
        names = [name for name in names if not os.environ.get(SERVERS[name].variable)]
        ready = obtain(names)
        if ready != names and os.environ.get("CI") == "true":
            return 1
        return run(command, ready)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
