"""A process that has imported what takes seconds, and forks one that runs `bigr` for each that is asked for.

A line on stdin is a JSON object. `{"start": [...]}` begins processes, each an object: `words` (the command line),
`environment` (all of it), `folder` (the current one), `out` and `err` (files for what it prints), `before` (Python
source that it runs first); the line that answers has their numbers. `{"wait": [...]}` waits until processes of these
numbers have ended; the line that answers has their exit codes, or minus the number of the signal that ended one. One
that has not ended after `PATIENCE` writes to `err` what its threads are at, and is killed.
"""

import faulthandler
import gc
import json
import os
import signal
import sys
import time
from typing import Any

from bigr_cli.app import main

PATIENCE = 200  # seconds


def become(wanted: dict[str, Any]) -> None:
    """Run `bigr` as this process, and end with its exit code."""
    for name, number in (("out", 1), ("err", 2)):
        opened = os.open(wanted[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    faulthandler.register(signal.SIGUSR1, sys.__stderr__, all_threads=True)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0, encoding="utf-8")  # without what the server has read ahead
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for what it runs in the background
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    exec(wanted["before"], {})
    sys.exit(main(wanted["words"]))


def ended(child: int) -> int:
    """The exit code of a process, or minus the number of the signal that ended it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGUSR1)
    time.sleep(1)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def serve() -> None:
    """Answer each line of stdin until it ends."""
    import accelerate  # noqa: F401
    import torch._dynamo  # noqa: F401  which accelerate imports once it trains

    import bigr_cli.model
    import bigr_cli.training.commands
    import bigr_cli.training.generator
    import bigr_cli.training.tokenizer  # noqa: F401
    from bigr_cli.registry import discover

    discover()
    gc.freeze()  # what is shared stays shared
    answers = os.dup(1)  # children may print to 1 what they like
    for line in sys.stdin:
        asked = json.loads(line)
        found = []
        for wanted in asked.get("start", ()):
            child = os.fork()
            if not child:
                os.close(answers)
                become(wanted)
            found.append(child)
        found += [ended(child) for child in asked.get("wait", ())]
        os.write(answers, json.dumps(found).encode() + b"\n")


if __name__ == "__main__":
    serve()
