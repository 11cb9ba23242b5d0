"""A steady load of whole sign-ins, refreshes and calls, and how each request ended."""

import asyncio
import time

from .client import Client


class Load:
    """`workers` people at a time; each signs in, refreshes, calls, and begins again."""

    def __init__(self, deployment, ledger, workers, *, keep_going=False):
        self.deployment, self.ledger, self.workers = deployment, ledger, workers
        # After a failure: begin anew instead of stopping.
        self.keep_going = keep_going
        self.flows = self.requests = self.honest_ended = self.repeated = 0
        self.failed = []
        self._stop = False

    async def __aenter__(self):
        clients = [Client(self.deployment, self.ledger) for _ in range(self.workers)]
        await asyncio.gather(*(client.register() for client in clients))
        self._tasks = [asyncio.create_task(self._work(client)) for client in clients]
        return self

    async def __aexit__(self, *_):
        self._stop = True
        await asyncio.gather(*self._tasks)

    def _note(self, answer, step):
        self.requests += 1
        if answer.is_trouble:
            self.failed.append((time.monotonic(), step, answer.status))
        return answer

    async def _work(self, client):
        while not self._stop:
            if await self._flow(client):
                self.flows += 1
            else:
                await asyncio.sleep(0.1)

    async def _flow(self, client):
        code, answer = await client.code()
        self.requests += 3
        if code is None:
            self._note(answer, "authorize")
            return False
        answer = self._note(await client.redeem(code), "token")
        if answer.status != 200:
            if not answer.is_trouble and not self.keep_going:
                self.failed.append((time.monotonic(), "token", answer.status))
            return False
        tokens = await self._refresh(client, answer.json["refresh_token"])
        if tokens is None:
            return False
        answer = self._note(await client.call(tokens["access_token"]), "call")
        return answer.status == 200

    async def _refresh(self, client, token):
        """As a client does: the same token again while there is trouble."""
        for attempt in range(30):
            answer = await client.refresh(token)
            if attempt == 0:
                self._note(answer, "refresh")
            else:
                self.repeated += answer.is_trouble
            if answer.status == 200:
                return answer.json
            if not answer.is_trouble:
                self.honest_ended += 1
                return None
            await asyncio.sleep(0.3)
        return None
