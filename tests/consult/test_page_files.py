"""Photos and logs on the page in Chromium: sent in pieces, listed for all, given only to whose role may have them."""

import asyncio
import hashlib
import random
from pathlib import Path

import pytest
from PIL import Image
from test_consult_browser import page_of

pytestmark = pytest.mark.browser


async def test_a_photo_goes_into_the_room_and_a_log_only_to_some(service, car, report, in_room, browser, tmp_path):
    photo = tmp_path / "插头.png"
    Image.frombytes("RGB", (1000, 766), random.Random(1).randbytes(2_298_000)).save(photo, compress_level=0)
    log = tmp_path / "drive.log"
    log.write_text("(1.0) can0 123#00\n")
    program = tmp_path / "tool.png"
    program.write_bytes(b"MZ" + bytes(200))
    async with (
        in_room(service, car, report) as agent,
        page_of(browser, (await agent.invite("lead")).url) as lead,
        page_of(browser, (await agent.invite("expert")).url) as expert,
    ):
        await lead.locator(".say input[type=file]").set_input_files(photo)
        link = expert.locator(".happened[data-kind=file] a")
        await link.wait_for()
        assert "插头.png (2.3 MB)" in await link.text_content()
        async with expert.expect_download() as download:
            await link.click()
        got = await asyncio.to_thread(Path(await (await download.value).path()).read_bytes)
        assert hashlib.sha256(got).digest() == hashlib.sha256(photo.read_bytes()).digest()

        await expert.locator(".say input[type=file]").set_input_files(log)
        await lead.wait_for_selector(".happened[data-kind=file] a:has-text('drive.log')")
        await expert.wait_for_selector(".happened[data-kind=file] span:has-text('drive.log')")
        assert await expert.locator("a:has-text('drive.log')").count() == 0, "a log may hold the VIN"

        await expert.locator(".say input[type=file]").set_input_files(program)
        await expert.wait_for_selector(".talk-body .problem:has-text('不接受此文件')")
