"""The bell between threads and loops."""

from __future__ import annotations

import asyncio

import pytest

from potato.hub.wake import Wake


async def test_a_ring_before_the_wait_is_not_lost_and_rings_once() -> None:
    wake = Wake()
    await asyncio.to_thread(wake.ring)
    assert await wake.wait(1)
    assert not await wake.wait(0.01)


async def test_a_cancellation_that_comes_with_the_ring_is_not_lost() -> None:
    for _ in range(200):
        wake = Wake()
        task = asyncio.create_task(wake.wait(5))
        await asyncio.sleep(0)
        wake._event.set()
        await asyncio.sleep(0)
        task.cancel()
        if not task.done():
            with pytest.raises(asyncio.CancelledError):
                await task
