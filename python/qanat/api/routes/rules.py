"""`/v1/rules`: tables of rules, those of the file and those of the API, and what they decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from qanat.api.bodies import read_body, with_body
from qanat.api.responses import as_json, describe
from qanat.compiler.rules import RuleSpec
from qanat.control.errors import RuleNotFound, TableNotFound
from qanat.control.rule_query import MatchSpec, query_of
from qanat.control.rule_views import rule_view, table_view, table_views, verdict_view
from qanat.control.rules import TableSpec

if TYPE_CHECKING:
    from qanat.control.gateway import Done, LiveGateway


class ChangeView(msgspec.Struct, frozen=True):
    """A change that is stored and live; without one, the revision is that which was live before."""

    revision: int
    changed: bool


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/rules", tags=["rules"])
    _add_tables(routes, gateway)
    _add_rules(routes, gateway)
    return routes


def _add_tables(routes: APIRouter, gateway: LiveGateway) -> None:
    @routes.get("", response_class=Response, responses=describe("RuleTablesView"))
    async def list_tables() -> Response:
        """List the tables with their rules, each in the order in which it is asked."""
        return as_json(table_views(gateway.state, gateway.engine))

    @routes.post(
        "/{table}:match",
        response_class=Response,
        responses=describe("VerdictView", 400, 404, 413, 422),
        openapi_extra=with_body("MatchSpec"),
    )
    async def match_rules(table: str, request: Request) -> Response:
        """Ask which rule would decide a session, and why those before it do not."""
        wanted = await read_body(request, MatchSpec)
        found = verdict_view(gateway.engine, query_of(table, wanted))
        if found is None:
            raise TableNotFound(table)
        return as_json(found)

    @routes.get("/{table}", response_class=Response, responses=describe("RuleTableView", 404))
    async def show_table(table: str) -> Response:
        """Show one table."""
        found = table_view(gateway.state, gateway.engine, table)
        if found is None:
            raise TableNotFound(table)
        return as_json(found)

    @routes.put(
        "/{table}",
        response_class=Response,
        responses=describe("ChangeView", 400, 409, 413, 422, 503, 504),
        openapi_extra=with_body("TableSpec"),
    )
    async def put_table(table: str, request: Request) -> Response:
        """Make the rules of the API in a table these; a table that does not exist is made."""
        wanted = await read_body(request, TableSpec)
        return _done(await gateway.put_rule_table(table, wanted))

    @routes.delete(
        "/{table}",
        response_class=Response,
        responses=describe("ChangeView", 404, 409, 503, 504),
    )
    async def delete_table(table: str) -> Response:
        """Remove a table of the API, and its rules."""
        return _done(await gateway.remove_rule_table(table))


def _add_rules(routes: APIRouter, gateway: LiveGateway) -> None:
    @routes.get("/{table}/{rule}", response_class=Response, responses=describe("RuleView", 404))
    async def show_rule(table: str, rule: str) -> Response:
        """Show one rule."""
        found = rule_view(gateway.state, gateway.engine, table, rule)
        if found is None:
            raise RuleNotFound(table, rule)
        return as_json(found)

    @routes.put(
        "/{table}/{rule}",
        response_class=Response,
        responses=describe("ChangeView", 400, 404, 409, 413, 422, 503, 504),
        openapi_extra=with_body("RuleSpec"),
    )
    async def put_rule(table: str, rule: str, request: Request) -> Response:
        """Add a rule to a table, or replace it; it decides new sessions from the answer on."""
        wanted = await read_body(request, RuleSpec)
        return _done(await gateway.put_rule(table, rule, wanted))

    @routes.delete(
        "/{table}/{rule}",
        response_class=Response,
        responses=describe("ChangeView", 404, 409, 503, 504),
    )
    async def delete_rule(table: str, rule: str) -> Response:
        """Remove a rule of the API; sessions that it decided go on."""
        return _done(await gateway.remove_rule(table, rule))


def _done(done: Done) -> Response:
    return as_json(ChangeView(done.revision, done.changed))
