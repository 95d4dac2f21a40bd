"""Options of `qanat tunnel` that limit how much is carried."""

from __future__ import annotations

from typing import Annotated

import typer


def _rate(name: str, meaning: str) -> object:
    return typer.Option(f"--{name}", metavar="SIZE", help=f"{meaning} 0 is no limit.")


SendRate = Annotated[str, _rate("send-rate", "Bytes a second that are sent, such as 500k.")]
ReceiveRate = Annotated[str, _rate("receive-rate", "Bytes a second that are received.")]
UploadRate = Annotated[
    str, _rate("upload-rate", "Bytes a second that all clients together send, such as 500k.")
]
DownloadRate = Annotated[
    str, _rate("download-rate", "Bytes a second that all clients together get.")
]
StreamUploadRate = Annotated[
    str, _rate("stream-upload-rate", "Bytes a second that each client sends.")
]
StreamDownloadRate = Annotated[
    str, _rate("stream-download-rate", "Bytes a second that each client gets.")
]
MaxStreams = Annotated[
    int,
    typer.Option(
        "--max-streams", metavar="NUMBER", min=0, help="Streams at once. 0 is any number."
    ),
]
