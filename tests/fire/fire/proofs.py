"""The long proofs: tests of `tests/api` that do little elsewhere, one process at a time, so that
each measures itself alone."""

import asyncio
import json
from dataclasses import dataclass

from harness.install import PROJECT, found, target_directory
from harness.processes import Failed

from .scenarios import Row

MARK = "measured: "


@dataclass
class Proof:
    """`few` and `many` are how much of it there is, without and with `--long`."""

    id: str
    test: str
    fault: str
    target: str
    few: int
    many: int


PROOFS = (
    Proof(
        "F22",
        "api::proofs::rotation::sign_ins_go_on_through_every_step_of_a_rotation",
        "the same, as 100,000 sign-ins in one process, step by step and with sign-ins that a step finds unfinished",
        "no visible effect",
        140,
        100_000,
    ),
    Proof(
        "F26",
        "api::proofs::codes::memory_for_redeemed_codes_is_bounded_and_comes_back",
        "a million codes are redeemed within the life of a claim",
        "at most 80 MB more at the peak, at most 10 MB more after the claims' end",
        2_000,
        1_000_000,
    ),
    Proof(
        "F27",
        "api::proofs::codes::codes_that_nobody_redeems_leave_nothing",
        "a million sign-ins end with a code that is never redeemed",
        "less than 10 MB more",
        1_000,
        1_000_000,
    ),
    Proof(
        "F29",
        "api::replay_redis::grants::refreshes_of_many_grants_are_quick_and_small",
        "100,000 grants refresh every ten minutes, in bursts of ten times as many, on Redis",
        "p99 < 50 ms, Redis < 100 MB",
        300,
        100_000,
    ),
)


async def build(processes, optimized):
    """The tests: as `cargo test` builds them, or optimized."""
    words = ["cargo", "test", "--locked", "--quiet", "--test", "api", "--no-run"]
    words += ["--message-format", "json"] + (["--profile", "proof"] if optimized else [])
    env = {"CARGO_TARGET_DIR": str(target_directory())}
    child = await processes.start("build-proofs", words, cwd=PROJECT, env=env)
    try:
        async with asyncio.timeout(2400):
            code = await child.process.wait()
    finally:
        await processes.stop(child)
    for line in child.log.read_text(errors="replace").splitlines():
        built = json.loads(line) if line.startswith("{") else {}
        if built.get("executable") and built["target"]["name"] == "api":
            return built["executable"]
    raise Failed(f"the tests were not built (exit {code}); {child.log} ends:\n{child.last_words()}")


async def run(processes, binary, proof, full):
    """One proof; the row says what it measured, or that it failed."""
    words = [binary, "--exact", proof.test, "--nocapture"]
    env = {
        "PROOF": str(proof.many if full else proof.few),
        "MCP_OAUTH_TEST_REDIS_SERVER": found("redis-server"),
    }
    name = f"proof-{proof.id}"
    child = await processes.start(name, words, cwd=PROJECT, env=env)
    try:
        async with asyncio.timeout(900):
            code = await child.process.wait()
    except TimeoutError:
        code = None
    finally:
        await processes.stop(child)
    lines = child.log.read_text(errors="replace").splitlines()
    told = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    if not told:
        raise Failed(f"{name}: nothing was measured (exit {code}); {child.log} ends:\n{child.last_words()}")
    return Row(proof.id, proof.fault, proof.target, told[-1], code == 0)
