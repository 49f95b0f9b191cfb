"""A submitted job's log as it comes, over any number of lost connections, until the job has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails

from mtl_ray.errors import MtlRayError
from mtl_ray.ray_address import refused
from mtl_ray.submission.client import JobClient

Say = Callable[[str], None]

SILENCE = 20.0
"""Seconds without a line after which the server is asked whether the job still runs: a connection can die unnoticed."""

RENEW = 300.0
"""Seconds without a line after which the log is asked for anew, though the server says that the job runs."""

LONGEST_PAUSE = 10.0
"""Seconds between two attempts to connect again, at most."""

_LOST = (aiohttp.ClientError, OSError, requests.RequestException, RuntimeError)


class LogFollower:
    """Follows one job.

    The server sends a log from its beginning on every connection, so what has been written is counted in characters
    and skipped: no line is written twice or left out.

    Args:
        client: of the cluster that runs the job.
        job: the job's submission id.
        write: receives the log, in pieces.
        say: receives a sentence when a connection is lost or found again.
        patience: seconds to try for before a lost connection is given up.
    """

    def __init__(self, client: JobClient, job: str, write: Callable[[str], None], say: Say, patience: float) -> None:
        self._client = client
        self._job = job
        self._write = write
        self._say = say
        self._patience = patience
        self._written = 0

    async def until_end(self) -> JobDetails:
        """Write the log until the job has ended; returns what the cluster knows of it then. May be called again after
        it was cancelled.

        Raises:
            MtlRayError: the cluster cannot be reached for `patience` seconds, no longer knows the job, or has lost the
            node of its driver.
            ClusterError: the cluster no longer accepts the token.
        """
        lost: float | None = None
        while True:
            ended = False
            try:
                details = await self._details()
                ended = details.status.is_terminal()
                if not ended:
                    await self._check_driver(details)
                if lost is not None:
                    self._say("connected again")
                    lost = None
                await self._tail()
                details = await self._details()
                if details.status.is_terminal():
                    return details
                continue
            except _LOST as error:
                if ended:  # what the job says of itself is there, its log is not: the node that had it is gone
                    self._say(f"the end of the job's log cannot be read: {_line(error)}")
                    return await self._details()
                reason = _line(error)
            if lost is None:
                lost = time.monotonic()
                self._say(f"lost the connection to the cluster ({reason}), trying again")
            waited = time.monotonic() - lost
            if waited > self._patience:
                raise MtlRayError(
                    f"The cluster could not be reached again in {waited:.0f} s. The job may still run.\n"
                    f"  where:   {self._client.get_address()}\n  found:   {reason}\n"
                    f"  fix:     follow it again with --follow {self._job}"
                )
            await asyncio.sleep(min(1 + waited / 4, LONGEST_PAUSE))

    async def _tail(self) -> None:
        """Write what one connection brings, until it ends. Raises one of `_LOST` where it breaks or has died."""
        seen = 0
        heard = time.monotonic()
        async with aclosing(_pieces(self._client, self._job)) as pieces:
            waiting: asyncio.Task[str | None] | None = None
            try:
                while True:
                    waiting = waiting or asyncio.ensure_future(anext(pieces, None))
                    done, _ = await asyncio.wait({waiting}, timeout=SILENCE)
                    if not done:
                        details = await self._details()
                        if details.status.is_terminal() or time.monotonic() - heard > RENEW:
                            return
                        await self._check_driver(details)
                        continue
                    piece, waiting, heard = waiting.result(), None, time.monotonic()
                    if piece is None:
                        return
                    fresh = piece[max(self._written - seen, 0) :]
                    seen += len(piece)
                    if fresh:
                        self._write(fresh)
                        self._written = seen
            finally:
                if waiting is not None:
                    waiting.cancel()
                    await asyncio.wait({waiting})

    async def _details(self) -> JobDetails:
        try:
            return await asyncio.to_thread(self._client.get_job_info, self._job)
        except AuthenticationError as error:
            raise refused(self._client.get_address()) from error
        except RuntimeError as error:
            if "status code 404" not in str(error):
                raise
            raise MtlRayError(
                f"The cluster does not know the job {self._job}: its head has lost what it knew, or it is another "
                f"cluster.\n  where:   {self._client.get_address()}\n"
                "  fix:     submit it again"
            ) from error

    async def _check_driver(self, details: JobDetails) -> None:
        """Raise MtlRayError where the node of the job's driver is dead. A head that has come again with what it knew
        calls the job running until another one is submitted."""
        if details.driver_node_id is None:  # it has not started yet
            return
        state = await asyncio.to_thread(self._client.node_state, details.driver_node_id)
        if state == "DEAD":
            raise MtlRayError(
                f"The job {self._job} is lost with the node that its driver ran on.\n"
                f"  where:   {self._client.get_address()}\n"
                "  fix:     submit it again; jobs/train.py and jobs/tune.py go on with what they had, by --resume auto"
            )


async def _pieces(client: JobClient, job: str) -> AsyncGenerator[str, None]:
    async with aclosing(client.tail_job_logs(job)) as tail:
        async for piece in tail:
            yield piece


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
