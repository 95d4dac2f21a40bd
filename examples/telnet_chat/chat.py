"""A chat: rooms, nicknames, and a queue for each client, so that nobody waits for a slow one."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from telnet import Text

from qanat.handlers import ContentSession

WAITING = 100  # messages; a client that is further behind is sent away
NAMING_S = 30.0
LONGEST_NAME = 20
HELP = "Commands: /join ROOM, /nick NAME, /who, /quit. Anything else is said in the room."

rooms: defaultdict[str, set[Member]] = defaultdict(set)
names: set[str] = set()


class Member:
    """A client that has said its name."""

    def __init__(self, session: ContentSession, name: str) -> None:
        self.session = session
        self.name = name
        self.room = "lobby"
        self.messages: asyncio.Queue[str] = asyncio.Queue(WAITING)
        self.is_behind = asyncio.Event()

    def tell(self, message: str) -> None:
        """Queue a message; whoever does not read them is sent away, and holds nobody up."""
        try:
            self.messages.put_nowait(message)
        except asyncio.QueueFull:
            self.is_behind.set()

    def say(self, message: str) -> None:
        """Tell all others in the room."""
        for other in rooms[self.room] - {self}:
            other.tell(message)

    def enter(self, room: str) -> None:
        """Go to a room, and tell those who are there."""
        self.room = room
        rooms[room].add(self)
        self.say(f"* {self.name} has joined {room}")
        others = len(rooms[room]) - 1
        self.tell(f"* you are in {room} with {others} other{'' if others == 1 else 's'}")

    def leave(self) -> None:
        """Leave the room, and tell those who stay."""
        rooms[self.room].discard(self)
        self.say(f"* {self.name} has left {self.room}")
        if not rooms[self.room]:
            del rooms[self.room]


async def converse(session: ContentSession) -> None:
    """Serve one client, from its name to its end. Until it has one, nobody knows of it."""
    text = Text()
    name = await ask_name(session, text)
    if name is None:
        return
    member = Member(session, name)
    names.add(name)
    member.enter("lobby")
    member.tell(HELP)
    try:
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(deliver(member)), tasks.create_task(watch(member))]
            await listen(member, text)
            for task in others:
                task.cancel()
    finally:
        member.leave()
        names.discard(member.name)


async def ask_name(session: ContentSession, text: Text) -> str | None:
    """Ask until there is a name that nobody has; none if the client leaves or takes too long."""
    try:
        async with asyncio.timeout(NAMING_S):
            send(session, "What is your name?")
            async for line in session.reader:
                name = text.of(line)
                if is_free(name):
                    return name
                send(session, f"A name is 1 to {LONGEST_NAME} letters or digits, and free. Yours?")
    except TimeoutError:
        send(session, "Another time, then.")
    return None


def is_free(name: str) -> bool:
    """Tell whether a name can be taken."""
    return name.isalnum() and len(name) <= LONGEST_NAME and name not in names


async def listen(member: Member, text: Text) -> None:
    """Do what the client says, to its end."""
    async for line in member.session.reader:
        command, _, rest = text.of(line).partition(" ")
        match command:
            case "":
                pass
            case "/quit":
                return
            case "/join" if rest.isalnum():
                member.leave()
                member.enter(rest)
            case "/nick" if is_free(rest):
                rename(member, rest)
            case "/nick" if rest in names:
                member.tell(f"* {rest} is taken")
            case "/who":
                member.tell("* here: " + ", ".join(sorted(one.name for one in rooms[member.room])))
            case _ if command.startswith("/"):
                member.tell(HELP)
            case _:
                member.say(f"{member.name}: {command} {rest}".rstrip())


def rename(member: Member, name: str) -> None:
    """Change a client's name, and tell the room."""
    names.discard(member.name)
    names.add(name)
    message = f"* {member.name} is now {name}"
    member.name = name
    member.say(message)
    member.tell(message)


async def deliver(member: Member) -> None:
    """Send a client what it is told, as fast as it takes it."""
    while True:
        message = await member.messages.get()
        send(member.session, message)
        await member.session.writer.drain()


async def watch(member: Member) -> None:
    """Send a client away that is too far behind."""
    await member.is_behind.wait()
    member.session.reject(200, b"You are too far behind.\r\n")


def send(session: ContentSession, line: str) -> None:
    """Write a line as telnet wants it."""
    session.writer.write(line.encode() + b"\r\n")
