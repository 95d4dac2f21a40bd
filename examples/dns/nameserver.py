"""A name server for one zone (RFC 1035), over UDP and TCP."""

from __future__ import annotations

from asyncio import IncompleteReadError
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.zone

from qanat.handlers import ContentSession, DatagramSession

ZONE = dns.zone.from_file(str(Path(__file__).with_name("example.zone")), relativize=False)
ORIGIN = ZONE.origin or dns.name.root
HEADER = 12  # bytes of an empty message
FORMERR = b"\x80\x01"
UDP_LIMIT = 512
EDNS_LIMIT = 1232  # what passes everywhere without being cut into fragments


async def serve(session: ContentSession | DatagramSession) -> None:
    """Answer a datagram, or all questions of a connection."""
    if isinstance(session, DatagramSession):
        reply = answer(session.receive_nowait() or b"")
        if reply is not None:
            session.send(reply)
        return
    try:
        while True:
            length = int.from_bytes(await session.reader.readexactly(2))
            reply = answer(await session.reader.readexactly(length), stream=True)
            if reply is None:
                return
            session.writer.write(len(reply).to_bytes(2) + reply)
            await session.writer.drain()
    except IncompleteReadError:
        return  # The client has what it wanted.


def answer(wire: bytes, *, stream: bool = False) -> bytes | None:
    """Return the reply to a message; none if it deserves none."""
    if len(wire) < HEADER or wire[2] & 0x80:
        return None  # An answer to an answer would be answered for ever.
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return wire[:2] + FORMERR + bytes(8)
    reply = dns.message.make_response(query, our_payload=EDNS_LIMIT)
    if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
        reply.set_rcode(dns.rcode.NOTIMP)
    else:
        look_up(reply, query.question[0].name, query.question[0].rdtype)
    if stream:
        return reply.to_wire(max_size=65_535)
    limit = UDP_LIMIT if query.edns < 0 else min(max(query.payload, UDP_LIMIT), EDNS_LIMIT)
    return reply.to_wire(max_size=limit, prefer_truncation=True)


def look_up(reply: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
    """Put what the zone knows of a name into a reply, following its aliases."""
    if not name.is_subdomain(ORIGIN):
        reply.set_rcode(dns.rcode.REFUSED)
        return
    reply.flags |= dns.flags.AA
    for _ in range(len(ZONE.nodes)):
        if (found := ZONE.get_rrset(name, kind)) is not None:
            reply.answer.append(found)
            return
        alias = ZONE.get_rrset(name, dns.rdatatype.CNAME)
        if alias is None:
            break
        reply.answer.append(alias)
        name = alias[0].target
        if not name.is_subdomain(ORIGIN):
            return
    # Names above known ones exist, too (RFC 8020).
    if not any(known.is_subdomain(name) for known in ZONE.nodes):
        reply.set_rcode(dns.rcode.NXDOMAIN)
    reply.authority.append(ZONE.find_rrset(ORIGIN, dns.rdatatype.SOA))
