"""Send back every line."""

from qanat.handlers import ContentSession


async def echo(session: ContentSession) -> None:
    """Answer each line with itself, the last one with or without its end."""
    async for line in session.reader:
        session.writer.write(line)
        await session.writer.drain()
