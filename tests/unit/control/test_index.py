"""The difference between two plans leads from one to the other, and holds nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from qanat.compiler.plan import Objects, Server, Upstream
from qanat.control.index import PlanIndex, diff

IDS = st.sampled_from("abcdef")
SERVERS = st.dictionaries(IDS, st.integers(0, 2))


def plan(servers: dict[str, int], upstreams: dict[str, int]) -> PlanIndex:
    return PlanIndex.of(
        Objects(
            servers=tuple(
                Server(id=ident, listeners=("tcp:1.1.1.1:1",), name=str(value), origin="")
                for ident, value in servers.items()
            ),
            upstreams=tuple(
                Upstream(name=ident, peers=(), origin=str(value))
                for ident, value in upstreams.items()
            ),
        )
    )


@given(SERVERS, SERVERS, SERVERS, SERVERS)
def test_a_difference_leads_to_the_other_plan(
    servers: dict[str, int],
    upstreams: dict[str, int],
    new_servers: dict[str, int],
    new_upstreams: dict[str, int],
) -> None:
    old, new = plan(servers, upstreams), plan(new_servers, new_upstreams)
    change = diff(old, new, 7, None)
    changed = {s.id for s in change.put.servers}
    assert changed == {i for i, value in new_servers.items() if servers.get(i) != value}
    assert set(change.remove.upstreams) == upstreams.keys() - new_upstreams.keys()
    old.remove(change.remove)
    old.put(change.put)
    assert old == new
    assert change.revision == 7
