#!/usr/bin/python3
"""A bot that answers: bot.py ws://127.0.0.1:7600/ws, with a token for "bot" in TOKEN (websocket-server token issue --sub bot --send '*').
What a crash leaves unfinished is answered after the next start, under the same id: nobody reads an answer twice."""
import asyncio, os, sys
from postoffice import Message, PostOffice

async def main() -> None:
    async with PostOffice(sys.argv[1], token=os.environ["TOKEN"], device="bot") as bot:
        await bot.serve(answer)

def answer(message: Message) -> "str | None":
    return None if message.in_reply_to else f"You said: {message.text}"  # two bots would answer each other for ever

asyncio.run(main())
