"""What a document tells people to paste, and a shell into which it is pasted."""

import os
import re
from pathlib import Path

_OURS = re.compile(r"EVENTS_|PYTHON|VIRTUAL_ENV|CELERY_CONFIG_MODULE|(?:DATABASE|REDIS|AMQP|CLOUDAMQP)_URL")


def blocks(document: Path, language: str) -> list[str]:
    """The code in this language, as it stands, in the document's order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


def users_environment(*first: Path) -> dict[str, str]:
    """Of somebody who has set nothing for us: no setting, no way to our sources. `first` begins the PATH."""
    kept = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
    return kept | {"PATH": os.pathsep.join([*map(str, first), os.environ["PATH"]])}
