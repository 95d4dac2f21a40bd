"""Lists of peers that are kept elsewhere, and change: loaded at the start and followed.

`qanat[redis]` and `qanat[etcd]` install what the two need.
"""

from qanat.handlers.sources.etcd import EtcdPeers
from qanat.handlers.sources.redis import RedisPeers
from qanat.handlers.sources.source import PeerSource, SourceError

__all__ = ["EtcdPeers", "PeerSource", "RedisPeers", "SourceError"]
