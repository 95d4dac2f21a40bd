"""`SharedDict`: a dictionary of the process with a bound, and times to live."""

from __future__ import annotations

import threading
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import qanat
from qanat.handlers import SharedDict

_names = count()


def fresh(size: int | str = "64k") -> SharedDict:
    """Return a dictionary that no other test knows."""
    return SharedDict(f"test_{next(_names)}", size)


@pytest.mark.parametrize(
    "value", [b"\0bytes", "text\N{SNOWMAN}", 2**63 - 1, -(2**63), 0.5, True, ""]
)
def test_values_come_back_as_they_were(value: bytes | str | float) -> None:
    shared = fresh()
    shared["key"] = value
    assert shared["key"] == value
    assert type(shared["key"]) is type(value)


@pytest.mark.parametrize("value", [None, [], {}, 1j, object()])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="bytes, str, int, float or bool"):
        fresh().set("key", value)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        fresh().set("key", 2**63)


def test_it_is_used_like_a_dict() -> None:
    shared = fresh()
    shared["one"] = 1
    shared[b"one"] = 2
    assert (shared["one"], shared[b"one"], len(shared), "two" in shared) == (1, 2, 2, False)
    assert (shared.get("two"), shared.get("two", 0), shared.pop("two", None)) == (None, 0, None)
    assert shared.pop("one") == 1
    del shared[b"one"]
    assert (list(shared), shared.delete("one")) == ([], False)
    for missing in ("two", b"two"):
        with pytest.raises(KeyError) as caught:
            shared[missing]
        assert caught.value.args == (missing,)
    with pytest.raises(KeyError):
        shared.pop("two")
    with pytest.raises(KeyError):
        del shared["two"]


def test_a_name_leads_to_one_dictionary() -> None:
    shared = fresh()
    shared["key"] = "value"
    again = SharedDict(shared.name)
    assert (again["key"], again.capacity) == ("value", 64 << 10)
    assert (SharedDict(shared.name, "1M").capacity, shared.capacity) == (1 << 20, 1 << 20)
    assert qanat.SharedDict is SharedDict
    assert SharedDict(f"test_{next(_names)}").capacity == 64 << 20


@pytest.mark.parametrize("size", [0, -1, 4095, "1k", "", "m", "64x", "1.5m"])
def test_a_size_has_to_make_sense(size: int | str) -> None:
    with pytest.raises(ValueError, match="at least 4096"):
        SharedDict("never", size)


def test_nothing_or_something_has_to_be_there() -> None:
    shared = fresh()
    assert (shared.replace("key", 1), shared.add("key", 2), shared.add("key", 3)) == (
        False,
        True,
        False,
    )
    assert (shared.replace("key", 4), shared["key"]) == (True, 4)


def test_a_number_is_counted_up() -> None:
    shared = fresh()
    assert [shared.incr("n", initial=0), shared.incr("n", 5), shared.incr("n", -2)] == [1, 6, 4]
    assert shared.incr("n", 0.5) == 4.5
    with pytest.raises(KeyError):
        shared.incr("other")
    shared["other"] = True
    with pytest.raises(TypeError, match="not a number"):
        shared.incr("other")
    shared["other"] = 2**63 - 1
    with pytest.raises(OverflowError):
        shared.incr("other")


def test_a_version_tells_of_changes() -> None:
    shared = fresh()
    with pytest.raises(KeyError):
        shared.compare_and_set("key", 1, "new")
    shared["key"] = "old"
    found = shared.get_with_version("key")
    assert found is not None
    assert (found[0], shared.get_with_version("other")) == ("old", None)
    assert shared.compare_and_set("key", found[1], "new")
    assert not shared.compare_and_set("key", found[1], "newer")
    assert shared["key"] == "new"


def test_a_value_has_a_time_to_live() -> None:
    shared = fresh()
    shared.set("key", 1, ttl=3600)
    left = shared.ttl("key")
    assert left is not None
    assert 3590 < left <= 3600
    assert shared.expire("key", None)
    assert (shared.ttl("key"), shared.expire("other", 1)) == (None, False)
    shared.set("brief", 1, ttl=1e-6)
    while "brief" in shared:
        pass
    assert shared.get("brief") is None
    for ttl in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive number of seconds"):
            shared.set("key", 1, ttl=ttl)
    with pytest.raises(KeyError):
        shared.ttl("other")
    shared.set("brief", 1, ttl=1e-6)
    assert shared.flush_expired() <= 1


def test_memory_is_bounded() -> None:
    shared = fresh()
    shared["kept"] = 0
    for number in range(1000):
        shared[f"key-{number}"] = b"x" * 500
        assert shared["kept"] == 0
    assert shared.evictions == 1001 - len(shared)
    assert shared.used <= shared.capacity
    assert shared.keys(2) == ["kept", "key-999"]
    with pytest.raises(ValueError, match=r"does not fit into 65536 of SharedDict 'test_"):
        shared["large"] = b"x" * (64 << 10)
    assert "kept" in shared
    shared.clear()
    assert (len(shared), shared.used, shared.keys(None)) == (0, 0, [])


def test_a_key_has_a_length() -> None:
    shared = fresh("1m")
    shared["k" * 65_535] = 1
    for key in ("", b"", b"k" * 65_536):
        with pytest.raises(ValueError, match="1 to 65535 bytes"):
            shared[key] = 1


def test_threads_do_not_lose_counts() -> None:
    shared = fresh()

    def add_up() -> None:
        for _ in range(2000):
            shared.incr("n", initial=0)

    threads = [threading.Thread(target=add_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared["n"] == 8000


KEYS = st.sampled_from(["a", "b", b"a", "\N{SNOWMAN}"])
VALUES = st.one_of(st.binary(max_size=9), st.text(max_size=9), st.integers(-9, 9), st.booleans())


class LikeADict(RuleBasedStateMachine):
    """A dictionary with room enough does what a `dict` does."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = fresh("1m")
        self.model: dict[str | bytes, bytes | str | float] = {}

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str | bytes, value: bytes | str | float) -> None:
        self.shared[key] = self.model[key] = value

    @rule(key=KEYS, value=VALUES)
    def add(self, key: str | bytes, value: bytes | str | float) -> None:
        assert self.shared.add(key, value) == (key not in self.model)
        self.model.setdefault(key, value)

    @rule(key=KEYS)
    def remove(self, key: str | bytes) -> None:
        assert self.shared.pop(key, None) == self.model.pop(key, None)

    @rule(key=KEYS, by=st.integers(-5, 5))
    def count(self, key: str | bytes, by: int) -> None:
        before = self.model.get(key, 0)
        if type(before) is int:
            self.model[key] = before + by
            assert self.shared.incr(key, by, initial=0) == before + by

    @precondition(lambda self: len(self.model) > 2)
    @rule()
    def clear(self) -> None:
        self.shared.clear()
        self.model.clear()

    @invariant()
    def same(self) -> None:
        assert {key: self.shared[key] for key in self.shared} == self.model
        assert len(self.shared) == len(self.model)


LikeADict.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestLikeADict = LikeADict.TestCase
