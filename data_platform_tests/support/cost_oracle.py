"""What a call costs, said once more in plain Python: dicts, Decimals, one call and one line at a time, no Polars, and
nothing of the platform's. Not here: making histories up (price_histories)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

Line = dict[str, Any]
Call = dict[str, Any]
CLASSES = (
    "input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "image_input",
    "output", "reasoning", "audio_output", "image_output",
)  # fmt: skip
PROMPT = CLASSES[:6]
KNOWN_CURRENCIES = ("USD", "EUR")
TERMS = ("provider", "model", "tenant_id", "region", "service_tier", "from_input_tokens")


@dataclass(frozen=True)
class Cost:
    """What the oracle says of a call."""

    cost: Decimal | None
    currency: str | None
    missing: tuple[tuple[str, int, str], ...]
    """Class, tokens, reason."""


def acceptable(line: Line) -> bool:
    if line["token_class"] not in CLASSES or line["currency"] not in KNOWN_CURRENCIES:
        return False
    if (line["from_input_tokens"] or 0) < 0 or (line["valid_to"] and line["valid_to"] <= line["valid_from"]):
        return False
    per = 1 if line["per_tokens"] is None else line["per_tokens"]
    if per <= 0:
        return False
    if line["unit_price"] is None:
        return True
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d\d?)?", line["unit_price"].strip()):
        return False
    price = per_token(line)
    return price is not None and 0 <= price <= 1000 and price == round(price, 18)


def per_token(line: Line) -> Decimal | None:
    if line["unit_price"] is None:
        return None
    with localcontext(prec=200):
        return Decimal(line["unit_price"].strip()) / Decimal(line["per_tokens"] or 1)


class Prices:
    """All price lines that were received, and the names that the company says."""

    def __init__(self, lines: Sequence[Line], names: Sequence[Line] = ()) -> None:
        self.names = sorted(names, key=lambda line: (line["valid_from"], line["received_at"], line["source_line"]))
        newest: dict[tuple[Any, ...], Line] = {}
        for line in lines:
            if not acceptable(line):
                continue
            made = dict(line, from_input_tokens=line["from_input_tokens"] or 0)
            key = (*(made[name] for name in TERMS), made["token_class"], made["valid_from"])
            if key not in newest or _known(newest[key]) <= _known(made):
                newest[key] = made
        self.by_terms: dict[tuple[Any, ...], dict[str, list[Line]]] = {}
        for line in newest.values():
            of_class = self.by_terms.setdefault(tuple(line[name] for name in TERMS), {})
            of_class.setdefault(line["token_class"], []).append(line)
        for classes in self.by_terms.values():
            for found in classes.values():
                found.sort(key=lambda line: line["valid_from"])

    def events(self, terms: tuple[Any, ...]) -> Iterator[tuple[dt.datetime, int, Line]]:
        """Moment, place of the class, line: of beginnings and of ends that nothing follows in time."""
        for name, lines in self.by_terms[terms].items():
            for at, line in enumerate(lines):
                yield line["valid_from"], CLASSES.index(name), line
                following = lines[at + 1]["valid_from"] if at + 1 < len(lines) else None
                if line["unit_price"] is not None and line["valid_to"] and (
                    following is None or line["valid_to"] < following
                ):  # fmt: skip
                    yield line["valid_to"], CLASSES.index(name), line

    def at(self, terms: tuple[Any, ...], moment: dt.datetime) -> tuple[dict[str, Decimal], str] | None:
        """The prices by class that hold, and their currency; nothing before the first was said."""
        past = sorted((event for event in self.events(terms) if event[0] <= moment), key=lambda event: event[:2])
        if not past:
            return None
        newest = max(event[0] for event in past)
        currency = next(line["currency"] for when, _, line in past if when == newest)
        prices = {}
        for name, lines in self.by_terms[terms].items():
            held = [line for line in lines if line["valid_from"] <= moment]
            if not held:
                continue
            line = held[-1]
            price = per_token(line)
            over = line["valid_to"] is not None and moment >= line["valid_to"]
            if price is not None and not over and line["currency"] == currency:
                prices[name] = price
        return prices, currency

    def patterns(self, provider: str, model: str, day: dt.date) -> set[str]:
        """Of a model, those that any of its prices had on the day."""
        begin = dt.datetime.combine(day, dt.time(), dt.UTC)
        end = begin + dt.timedelta(days=1)
        found = set()
        for terms in self.by_terms:
            if terms[:2] != (provider, model):
                continue
            said: dict[dt.datetime, list[str]] = {}
            for when, _, line in self.events(terms):
                if line["model_pattern"] and when < end:
                    said.setdefault(when, []).append(line["model_pattern"])
            before = [when for when in said if when <= begin]
            for when in [*([max(before)] if before else []), *(when for when in said if when > begin)]:
                found.add(min(said[when]))
        return found

    def cost(self, call: Call) -> Cost:
        moment, prompt = call["started_at"], sum(call[f"{name}_tokens"] for name in PROMPT)
        begin = dt.datetime.combine(moment.date(), dt.time(), dt.UTC)
        end = begin + dt.timedelta(days=1)
        named, applicable = False, []
        for terms in self.by_terms:
            provider, model, tenant, region, tier, step = terms
            if provider not in (call["provider"], "*") or not any(when < end for when, _, _ in self.events(terms)):
                continue
            nearness = self._nearness(call, provider, model)
            if nearness is None:
                continue
            named = True
            if (
                tier == call["service_tier"]
                and tenant in (None, call["tenant_id"])
                and region in (None, call["region"])
            ):
                order = (tenant is None, nearness, -len(model), model, region is None, -step)
                applicable.append((order, terms, step))
        held = [(order, self.at(terms, moment), step) for order, terms, step in applicable]
        offers = [(order, found) for order, found, step in held if found and found[0] and step <= prompt]
        used = {name: call[f"{name}_tokens"] for name in CLASSES if call[f"{name}_tokens"]}
        if offers:
            prices, currency = min(offers, key=lambda offer: offer[0])[1]
            missing = tuple((name, tokens, "unknown_class") for name, tokens in used.items() if name not in prices)
            with localcontext(prec=60):
                cost = None if missing else sum((prices[name] * used[name] for name in used), Decimal(0))
            return Cost(cost, currency, missing)
        if not named:
            reason = "unknown_model"
        elif any(found and not found[0] for _, found, _ in held):
            reason = "price_ended"
        elif applicable and not any(found for _, found, _ in held):
            reason = "before_first_price"
        else:
            reason = "unknown_terms"
        return Cost(None, None, tuple((name, tokens, reason) for name, tokens in (used or {"input": 0}).items()))

    def _nearness(self, call: Call, provider: str, model: str) -> int | None:
        anyones = provider == "*"
        day = call["started_at"].date()
        said = [line for line in self.names if line["name"] == call["model"] and line["provider"] == provider]
        said = [line for line in said if line["valid_from"].date() <= day]
        if said and said[-1]["model"] == model:
            return -1
        if model == call["model"]:
            return 1 if anyones else 0
        patterns = self.patterns(provider, model, call["started_at"].date())
        if any(re.fullmatch(pattern, call["model"]) for pattern in patterns):
            return 3 if anyones else 2
        return None


def _known(line: Line) -> tuple[Any, ...]:
    return (line["known_from"] or line["received_at"], line["received_at"], line["source_file"], line["source_line"])


def billed(reports: Sequence[Call]) -> list[Call]:
    """Each call once: of the reports of one request the one with most tokens."""
    best: dict[tuple[Any, ...], Call] = {}
    for report in reports:
        key = (report["tenant_id"], report["request_id"])
        if key not in best or tokens_of(best[key]) < tokens_of(report):
            best[key] = report
    return list(best.values())


def tokens_of(call: Call) -> int:
    return sum(call[f"{name}_tokens"] for name in CLASSES)
