"""Who this node is to other gateways: its key, and a number that grows with every start.

Both are files of the state directory. The key is made at the first start; who has it is this node.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from msgspec import structs

from qanat.store.base import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from qanat.compiler.plan import Settings

KEY_FILE = "node.key"
GENERATION_FILE = "node.generation"


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """The key of a node, PKCS#8 DER, its public half as `peer` takes it, and its generation."""

    key: bytes
    public: str
    generation: int

    def complete(self, settings: Settings) -> Settings:
        """Put the identity into settings that have tunnels."""
        if settings.tunnels is None:
            return settings
        node = structs.replace(settings.tunnels, key=self.key, generation=self.generation)
        return structs.replace(settings, tunnels=node)


def load_identity(state_dir: Path) -> NodeIdentity:
    """Read the identity of a node, or make it; its generation grows. Raise `StoreError`."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        key = read_key(state_dir)
        return identity_of(key, _next_generation(state_dir / GENERATION_FILE))
    except (OSError, ValueError) as error:
        raise StoreError(f'cannot use the key of this node in "{state_dir}": {error}') from error


def read_key(state_dir: Path) -> Ed25519PrivateKey:
    """Read the key of a node, or make it. Raise `OSError` or `ValueError`."""
    path = state_dir / KEY_FILE
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(path, pem)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f'"{path}" holds no Ed25519 key')
    return key


def identity_of(key: Ed25519PrivateKey, generation: int = 1) -> NodeIdentity:
    """Make the identity of a key."""
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return NodeIdentity(der, f"ed25519:{public.hex()}", generation)


def passing_identity() -> NodeIdentity:
    """Make an identity for a check, which nobody will meet."""
    return identity_of(Ed25519PrivateKey.generate())


def _next_generation(path: Path) -> int:
    try:
        generation = int(path.read_text(encoding="ascii")) + 1
    except FileNotFoundError:
        generation = 1
    _write(path, str(generation).encode())
    return generation


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, for this user's eyes only."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
