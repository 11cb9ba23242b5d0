"""The faults, one function each: what was done, what is due, what was seen."""

import asyncio
import time
from dataclasses import dataclass

from harness.processes import Failed

from .client import Client, Ledger
from .load import Load

PARALLEL = 64


@dataclass
class Row:
    """A line of the table. `holds` is about what must never happen and fails the run; `figure` says
    whether a time is within three times its target, which leaves room for a busy machine."""

    id: str
    fault: str
    target: str
    measured: str
    holds: bool
    figure: bool = True

    @property
    def passed(self):
        return self.holds and self.figure


def p99(times):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] if ordered else 0.0


def ms(seconds):
    return f"{seconds * 1000:.0f} ms"


async def one_code(deployment, rounds):
    """64 redemptions of one code at once, directly at all replicas."""
    ledger, refused, other = Ledger(), 0, 0
    client = await Client(deployment, ledger).register()
    exchanged = 0
    for _ in range(rounds):
        code, answer = await client.code()
        if code is None:
            raise Failed(f"{deployment.name}: a step is answered {answer.status}")
        ports = [it.port for it in deployment.replicas]
        tries = (client.redeem(code, ports[n % len(ports)]) for n in range(PARALLEL))
        answers = await asyncio.gather(*tries)
        refused += sum(it.status == 400 and it.error == "invalid_grant" for it in answers)
        other += sum(it.status not in (200, 400) for it in answers)
        exchanged += deployment.upstream.exchanges[f"{client.person}.1"]
    most = 1 if deployment.mode != "upstream" else len(deployment.replicas)
    once = len(ledger.codes) == rounds and ledger.doubles == 0
    column = {"memory": "one process", "upstream": "three replicas, no store"}
    return Row(
        "TC4",
        f"{PARALLEL} redemptions of one code at once, `{deployment.mode}`: "
        f"{column.get(deployment.mode, 'three replicas, Redis')}",
        f"exactly one succeeds; the provider is sent it at most {most} times",
        f"{rounds} codes: {sum(ledger.codes.values())} accepted, {ledger.doubles} twice, {refused} "
        f"refused, {other} otherwise; sent {exchanged / rounds:.1f} times each",
        once and other == 0 and exchanged <= most * rounds,
    )


async def parallel_refresh(deployment, families, rounds, store):
    """Five refreshes with one token at once; the answer to one in ten is dropped."""
    ledger, upstream = Ledger(), deployment.upstream
    clients = [await Client(deployment, ledger).register() for _ in range(min(families, 20))]
    held, ended, split, times, dropped, trouble = [], 0, 0, [], 0, 0
    for number in range(families):
        client = clients[number % len(clients)]
        _, tokens = await client.login()
        held.append((client, client.person, tokens["refresh_token"]))
    started = sum(upstream.refreshes.values())

    async def rotate(number):
        nonlocal ended, split, dropped, trouble
        client, person, token = held[number]
        for attempt in range(20):
            drops = [(number * 7 + n * 3 + attempt) % 10 == 0 for n in range(5)]
            answers = await asyncio.gather(
                *(client.refresh(token, hang_up=drop) for drop in drops)
            )
            dropped += sum(drops)
            heard = [it for it, drop in zip(answers, drops) if not drop]
            times.extend(it.seconds for it in heard)
            trouble += sum(it.is_trouble for it in heard)
            if any(it.status in (400, 401) for it in heard):
                ended += 1
            got = {it.json["refresh_token"] for it in heard if it.status == 200}
            split += len(got) > 1
            if got:
                held[number] = (client, person, got.pop())
                return
        raise Failed(f"{deployment.name}: a refresh did not converge")

    for _ in range(rounds):
        for first in range(0, families, 8):
            await asyncio.gather(*(rotate(n) for n in range(first, min(first + 8, families))))
    asked = sum(upstream.refreshes.values()) - started
    rotations = families * rounds
    row = Row(
        "F30",
        f"five refreshes at once with one token, one answer in ten dropped, `{deployment.mode}`",
        "all converge; no honest grant ends; the provider is asked once each",
        f"{rotations} rotations, {dropped} answers dropped: {ended} refused, {split} answered with "
        f"two tokens, {trouble} told to come back; the provider was asked {asked} times, p99 {ms(p99(times))}",
        ended == 0 and split == 0 and asked == rotations and upstream.refused_refreshes == 0,
    )
    if not store:
        return [row]
    record, answer = await store.size_of(":r"), await store.size_of(":m")
    # One in five refreshed within the two minutes of the grace.
    megabytes = (record + answer / 5) * 100_000 / 1e6
    return [
        row,
        Row(
            "F29",
            "what Redis keeps for a grant",
            "100,000 grants that refresh every ten minutes in less than 100 MB",
            f"{record:.0f} bytes for its record, {answer:.0f} for its answer through the grace: "
            f"{megabytes:.0f} MB, from {families} grants",
            True,
            megabytes < 100,
        ),
    ]


async def revocation(deployment, grants):
    """A client revokes at one replica; from then on every replica refuses what it held."""
    client = await Client(deployment, Ledger()).register()
    slowest, wrong, bound = 0.0, 0, 0.2 if deployment.mode == "memory" else 2.0
    for number in range(grants):
        _, tokens = await client.login()
        kind = ("access_token", "refresh_token")[number % 2]
        answer = await client.revoke(tokens[kind])
        began, over = time.monotonic(), False
        while not over and time.monotonic() - began < 10:
            calls = [await client.call(tokens["access_token"], it.port) for it in deployment.replicas]
            over = all(it.status == 401 for it in calls)
        slowest = max(slowest, time.monotonic() - began)
        refused = await client.refresh(tokens["refresh_token"])
        wrong += answer.status != 200 or not over or refused.error != "invalid_grant"
    return Row(
        "V3",
        f"a client revokes either token at one replica, `{deployment.mode}`",
        "refused at once" if deployment.mode == "memory" else "refused by every replica within 2 s",
        f"{grants} grants: {wrong} went on; the slowest replica refused after {ms(slowest)}",
        wrong == 0,
        slowest < 3 * bound,
    )


async def killed_replica(deployment, workers, seconds):
    """`kill -9` of one replica under load."""
    ledger = Ledger()
    victim = deployment.replicas[1]
    lost = -deployment.upstream.refused_refreshes
    async with Load(deployment, ledger, workers, keep_going=True) as load:
        await asyncio.sleep(seconds / 2)
        before = len(load.failed)
        killed = time.monotonic()
        await deployment.kill(victim)
        await asyncio.sleep(seconds)
    failed = load.failed[before:]
    lost += deployment.upstream.refused_refreshes
    recovery = max((at - killed for at, _, _ in failed), default=0.0)
    await deployment.begin(victim)
    await deployment.until_ready()
    return Row(
        "F1",
        "`kill -9` of one of three replicas under load",
        f"failures ≤ requests in flight ({workers}); none accepted twice; recovery < 1 s; a grant "
        "ends only where the provider had answered and we had not written",
        f"{load.flows} sign-ins, {load.requests} requests: {len(failed)} failed, the last "
        f"{ms(recovery)} after; {ledger.doubles} codes twice; {load.honest_ended} grants ended so, "
        f"{load.repeated} repeated refreshes told to wait for a dead lease",
        ledger.doubles == 0 and len(failed) <= workers and before == 0 and load.flows > 0
        and load.honest_ended <= min(lost, workers),
        recovery < 3,
    )


async def rolling_restart(deployment, workers):
    """Each replica in turn: out of the balancer, stopped, started, in again."""
    ledger = Ledger()
    async with Load(deployment, ledger, workers) as load:
        for replica in deployment.replicas:
            await deployment.restart_in_order(replica)
    return Row(
        "F3",
        "rolling restart of three replicas under load",
        "no request fails, no sign-in is lost",
        f"{load.flows} sign-ins, {load.requests} requests: {len(load.failed)} failed, "
        f"{load.honest_ended} grants ended, {ledger.doubles} codes twice",
        not load.failed and load.honest_ended == 0 and ledger.doubles == 0 and load.flows > 0,
    )


async def troubled_store(deployment, line, seconds, delay):
    """The store is away, or answers late: `/token` says so quickly, calls go on."""
    ledger = Ledger()
    client = await Client(deployment, ledger).register()
    _, tokens = await client.login()
    early, minted = (await client.code())[0], time.monotonic()
    if delay:
        line.delay = delay
    else:
        line.cut()
    began, times, wrong, calls, failed_calls, refused = time.monotonic(), [], 0, 0, 0, 0
    while time.monotonic() - began < seconds:
        if time.monotonic() - minted > 20:
            # A sign-in needs no store up to its code, and a code lives a minute.
            early, minted = (await client.code())[0], time.monotonic()
        requests = [client.refresh(tokens["refresh_token"]), client.redeem(early)]
        requests += [client.call(tokens["access_token"]) for _ in range(4)]
        answers = await asyncio.gather(*requests)
        for answer in answers[:2]:
            times.append(answer.seconds)
            refused += answer.status == 400
            wrong += answer.status != 503 or answer.get("retry-after") is None
        calls += 4
        failed_calls += sum(it.status != 200 for it in answers[2:])
    late, _ = await client.code()
    line.delay, line.is_cut = 0.0, False
    restored = time.monotonic()
    answer = await client.refresh(tokens["refresh_token"])
    while answer.status == 503 and time.monotonic() - restored < 20:
        await asyncio.sleep(0.05)
        answer = await client.refresh(tokens["refresh_token"])
    recovery = time.monotonic() - restored
    await deployment.until_ready()
    late = await client.redeem(late)
    bound = 0.7 if delay else 0.6
    return Row(
        "F6" if delay else "F5",
        f"the store answers {ms(delay)} late for {seconds} s" if delay else f"the store is away for {seconds} s",
        f"`/token` is 503 with `Retry-After`, p99 < {ms(bound)}; every call passes; no `invalid_grant`",
        f"{len(times)} token requests: {len(times) - wrong} such answers, p99 {ms(p99(times))}, "
        f"slowest {ms(max(times))}; "
        f"{calls - failed_calls} of {calls} calls passed; {refused} `invalid_grant`; back after {ms(recovery)}",
        wrong == 0 and refused == 0 and failed_calls == 0 and ledger.doubles == 0
        and answer.status == 200 and late.status == 200,
        p99(times) < 3 * bound,
    )


async def used_and_unused(client, count):
    """Codes that were redeemed and codes that were not, with their verifiers."""
    held = []
    for number in range(2 * count):
        code, answer = await client.code()
        if code is None:
            raise Failed(f"a step is answered {answer.status}")
        held.append((code, client.verifier))
        if number < count and (await client.redeem(code)).status != 200:
            raise Failed("a code was not accepted")
    return held


async def present_again(client, deployment, held):
    """Every code again at every replica; what was answered."""
    answers = []
    for code, client.verifier in held:
        for replica in deployment.replicas:
            answers.append((await client.redeem(code, replica.port)).status)
    return answers


def sent_again(deployment):
    """How often the provider was sent a used code: its own rule must not be what saved us."""
    return deployment.upstream.refused_codes


async def emptied_store(deployment, store, count):
    ledger, before = Ledger(), sent_again(deployment)
    client = await Client(deployment, ledger).register()
    held = await used_and_unused(client, count)
    await store.tell("FLUSHALL")
    answers = await present_again(client, deployment, held)
    odd = sum(status not in (200, 400, 503) for status in answers)
    again = sent_again(deployment) - before
    return Row(
        "F9",
        "`FLUSHALL` between two uses of a code",
        "no code works twice; young codes are 503",
        f"{count} used and {count} unused codes at three replicas: {ledger.doubles} accepted twice, "
        f"{answers.count(503)} of {len(answers)} answers were 503, {odd} otherwise; {again} used codes "
        "were sent to the provider",
        ledger.doubles == 0 and odd == 0 and again == 0,
    )


async def lagging_failover(deployment, line, primary, copy, count):
    """The primary dies; its copy takes over without the last writes. What was answered to the codes."""
    await copy.tell("REPLICAOF", "127.0.0.1", str(primary.port))
    for _ in range(100):
        if "master_link_status:up" in await copy.tell("INFO", "replication"):
            break
        await asyncio.sleep(0.1)
    else:
        raise Failed("the copy of the store did not follow")
    ledger = Ledger()
    client = await Client(deployment, ledger).register()
    await copy.tell("REPLICAOF", "NO", "ONE")
    held = await used_and_unused(client, count)
    await primary.kill()
    line.target = copy.port
    line.hang_up()
    await asyncio.sleep(1.5)
    return await present_again(client, deployment, held), ledger.doubles


async def lagging_failovers(rig, runs, count):
    """Each with replicas and stores of its own: after one, young codes are refused for a while."""
    answers, doubles, again, unseen = [], 0, 0, 0
    for number in range(runs):
        primary, copy = await rig.store(f"primary-{number}"), await rig.store(f"copy-{number}")
        line = await rig.line(primary.port)
        three = await rig.deployment(f"failover-{number}", "redis", store=line.port)
        answered, twice = await lagging_failover(three, line, primary, copy, count)
        answers += answered
        doubles += twice
        again += sent_again(three)
        unseen += 503 not in answered
        await three.stop()
        await copy.kill()
    odd = sum(status not in (200, 400, 503) for status in answers)
    return Row(
        "F7",
        "failover to a copy of the store that lacks the last writes",
        "discontinuity is seen; no code works twice",
        f"{runs} failovers, each with {count} used and {count} unused codes at three replicas: {doubles} accepted "
        f"twice, {answers.count(503)} of {len(answers)} answers were 503, {odd} otherwise; {unseen} went unseen; "
        f"{again} used codes were sent to the provider",
        doubles == 0 and odd == 0 and again == 0 and unseen == 0,
    )


async def clocks_apart(deployment, rounds, pause):
    """One replica's clock is 45 s ahead; each code is tried again at every replica, later too."""
    ledger, before = Ledger(), sent_again(deployment)
    client = await Client(deployment, ledger).register()
    held = await used_and_unused(client, rounds)
    answers = await present_again(client, deployment, held)
    if pause:
        await asyncio.sleep(pause)
        answers += await present_again(client, deployment, held)
    odd = sum(status not in (200, 400) for status in answers)
    again = sent_again(deployment) - before
    return Row(
        "F14",
        "one replica's clock is 45 s ahead of the others'",
        "no code works twice",
        f"{2 * rounds} codes, {len(answers)} redemptions at three replicas"
        + (f", half of them {pause} s later" if pause else "")
        + f": {ledger.doubles} accepted twice, {odd} answered oddly; {again} used codes were sent to the provider",
        ledger.doubles == 0 and odd == 0 and again == 0 and len(ledger.codes) >= rounds,
    )


async def restarted_process(deployment, logins):
    """`kill -9` of the only process between authorization and redemption."""
    ledger = Ledger()
    client = await Client(deployment, ledger).register()
    held = [(await client.login())[1] for _ in range(logins)]
    code, _ = await client.code()
    verifier = client.verifier
    await deployment.kill(deployment.replicas[0])
    began = time.monotonic()
    await deployment.begin(deployment.replicas[0])
    start = time.monotonic() - began
    client.verifier = verifier
    first, second = await client.redeem(code), await client.redeem(code)
    calls = [await client.call(tokens["access_token"]) for tokens in held]
    refreshes = [await client.refresh(tokens["refresh_token"]) for tokens in held]
    good = sum(it.status == 200 for it in calls) + sum(it.status == 200 for it in refreshes)
    return Row(
        "F2",
        "`kill -9` of the only process between authorization and redemption",
        "the code works, once; old tokens work; start < 300 ms",
        f"code: {first.status}, then {second.status} `{second.error}`; {good} of {2 * logins} old tokens "
        f"accepted; answering after {ms(start)} (an unoptimized build)",
        (first.status, second.status) == (200, 400) and good == 2 * logins and ledger.doubles == 0,
        start < 0.9 * 3,
    )
