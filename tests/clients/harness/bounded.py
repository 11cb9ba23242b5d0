"""One run of a suite: stopped by a signal or by its time limit, cleaned up in every case."""

import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from .processes import Failed, Processes


def run(home, seconds, body):
    """Awaits `body(processes, directory, logs)` and returns the exit code that it returns. Logs are
    in `home/logs`, of this run only; `directory` is for the run alone."""
    logs = home / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    try:
        return asyncio.run(_bounded(home.name, seconds, body, logs))
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("error: stopped", file=sys.stderr)
        return 130


async def _bounded(name, seconds, body, logs):
    me = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    processes = Processes(logs)
    directory = Path(tempfile.mkdtemp(prefix=f"mcp-oauth-{name}-"))
    try:
        async with asyncio.timeout(seconds):
            return await body(processes, directory, logs)
    except TimeoutError as error:
        raise Failed(f"the run took longer than {seconds} s; logs are in {logs}") from error
    finally:
        left = await processes.stop_all()
        shutil.rmtree(directory, ignore_errors=True)
        if left:
            print(f"error: {len(left)} processes outlived their parents", file=sys.stderr)
