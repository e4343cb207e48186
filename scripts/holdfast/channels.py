"""The two ways out for a message: a Telegram chat, and any command. Neither raises; both say what failed."""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from holdfast.config import TelegramConfig
from holdfast.errors import HoldfastError
from holdfast.process import run

MAXIMUM_CHARACTERS = 4096
ATTEMPTS = 3
WAIT_SECONDS = 1.0


def failures_by_telegram(config: TelegramConfig, text: str, timeout_seconds: float) -> list[str]:
    """Send a plain text to the chat within `timeout_seconds` in all; what failed, the token masked."""
    token = ""
    try:
        token = config.token_file.read_text(encoding="utf-8").strip()
        # They log every address they call at INFO, and the token is part of it.
        for library in ("httpx", "httpcore", "telegram"):
            logging.getLogger(library).setLevel(logging.WARNING)
        deadline = time.monotonic() + timeout_seconds
        with warnings.catch_warnings():
            # What the library will change in its next version is no matter for cron's mail.
            warnings.simplefilter("ignore")
            asyncio.run(asyncio.wait_for(_send(config, token, text, deadline), timeout_seconds))
    except TimeoutError:
        return [f"telegram: no answer within {timeout_seconds:g} s"]
    except ImportError as error:
        return [f"telegram: python3-python-telegram-bot is not installed on this host ({error})"]
    except Exception as error:
        # Whatever goes wrong here must not hide how the job itself went.
        return [f"telegram: {masked(f'{type(error).__name__}: {error}', token)}"]
    return []


def failures_by_command(command: Sequence[str], text: str, timeout_seconds: float) -> list[str]:
    """Give the text to a command on its standard input; what failed."""
    try:
        run(command, name=command[0], input_bytes=text.encode(), timeout_seconds=timeout_seconds)
    except (HoldfastError, OSError) as error:
        return [f"command: {error}"]
    return []


def masked(text: str, token: str) -> str:
    """The text without the token (pure)."""
    return text.replace(token, "<token>") if token else text


async def _send(config: TelegramConfig, token: str, text: str, deadline: float) -> None:
    # Here, not above: a host without Telegram needs no such package.
    from telegram import Bot
    from telegram.error import BadRequest, NetworkError, RetryAfter
    from telegram.request import HTTPXRequest

    request = HTTPXRequest(connect_timeout=5.0, read_timeout=10.0, write_timeout=10.0)
    bot = Bot(token, base_url=f"{config.api_url.rstrip('/')}/bot", request=request, get_updates_request=request)
    async with request:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                # No parse mode: then no character of an error message means anything to Telegram.
                await bot.send_message(config.chat_id, text)
                return
            except RetryAfter as error:
                wait = _seconds(error.retry_after)
                if attempt == ATTEMPTS or time.monotonic() + wait >= deadline:
                    raise
            except BadRequest:  # a NetworkError by birth, yet it is about our request
                raise
            except NetworkError:
                wait = WAIT_SECONDS
                if attempt == ATTEMPTS:
                    raise
            await asyncio.sleep(wait)


def _seconds(period: Any) -> float:
    # python-telegram-bot 22 can be told to give a timedelta, and version 23 will.
    return period.total_seconds() if isinstance(period, timedelta) else float(period)
