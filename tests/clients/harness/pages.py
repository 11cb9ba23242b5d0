"""The pages in a real browser: a server of its own, one more whose clock is eleven minutes on, and
the proofs of `node/pages.mjs` before them. Pictures of every page are kept beside the logs."""

import asyncio
import json
import os

from .deployment import Deployment, free_port
from .install import HERE, found
from .processes import Failed, answers
from .tap import Tap

# Consent forms live for ten minutes.
LATER = "+11m"
WHOLE = 300


class Pages:
    """The deployment that the browser sees, and what was proved before it."""

    def __init__(self):
        self.deployment = Deployment("pages", 1, Tap("pages"))
        self.proofs = []

    async def run(self, processes, tools, shared, directory, logs):
        """Returns what did not hold."""
        home = directory / "pages"
        await self.deployment.start(processes, tools.binary, shared, directory)
        on_time = self.deployment.tap.target
        late = ("127.0.0.1", await self._start_late(processes, tools.binary, shared, home))
        key, certificate = await self._certificate(processes, home)
        pictures = logs / "pages"
        pictures.mkdir(exist_ok=True)
        case = {
            "origin": self.deployment.tap.origin,
            "provider": shared.oidc,
            "chromium": found("chromium"),
            "pictures": str(pictures),
            "key": str(key),
            "certificate": str(certificate),
            "state": str(home),
        }
        env = {"CLIENT_CASE": json.dumps(case), "HOME": str(home), "TMPDIR": str(home)}
        words = [tools.node, HERE / "node" / "pages.mjs"]
        child = await processes.start("pages-browser", words, env=env, pipes=True)
        try:
            async with asyncio.timeout(WHOLE):
                return await self._listen(child, {"late": late, "on time": on_time})
        except TimeoutError:
            return [f"pages: not done after {WHOLE} s; see {child.log}"]
        finally:
            await processes.stop(child)

    async def _listen(self, child, targets):
        wrong = []
        while line := await child.process.stdout.readline():
            told = json.loads(line)
            if "ask" in told:
                self.deployment.tap.retarget(targets[told["ask"]])
                child.process.stdin.write(b"\n")
            elif told["ok"]:
                self.proofs.append(told["proof"])
            else:
                wrong.append(f"pages, {told['proof']}: {told['error']}")
        if await child.process.wait() != 0 or not self.proofs + wrong:
            wrong.append(f"pages: the browser ended early; {child.log} ends:\n{child.last_words()}")
        return wrong

    async def _start_late(self, processes, binary, shared, home):
        """The same server with the same keys, whose clock is ahead."""
        port = free_port()
        file = home / "late.toml"
        file.write_text(self.deployment._configuration(shared, port, home))

        async def ready():
            return await answers("127.0.0.1", port)

        words = [found("faketime"), "-f", LATER, binary, "serve", "--config", file]
        env = {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        await processes.start_until("pages-late", words, ready, env=env, cwd=home)
        return port

    async def _certificate(self, processes, home):
        """For the client's site, which is https; the browser is told to take any."""
        key, certificate = home / "site.key", home / "site.pem"
        words = [found("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        words += ["-nodes", "-days", "2", "-subj", "/CN=client.example", "-keyout", key, "-out", certificate]
        child = await processes.start("pages-certificate", words)
        if await child.process.wait() != 0 or not os.path.exists(certificate):
            raise Failed(f"pages: no certificate; {child.log} ends:\n{child.last_words()}")
        return key, certificate

    def text(self, wrong):
        lines = [f"✓ {proof}" for proof in self.proofs]
        return "\n".join(["\nPages in a browser", *lines, *(f"✗ {line}" for line in wrong)])
