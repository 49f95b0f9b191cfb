"""The rules on feature views: did they match, are their rows fresh, and none from the future."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mtl_ray.data.contract.config import ContractConfig
from mtl_ray.data.contract.result import Finding, ViewSummary
from mtl_ray.data.contract.wording import age, share
from mtl_ray.data.service_spec import ServiceSpec


def is_unmatched(view: ViewSummary, config: ContractConfig) -> bool:
    """Whether (almost) no row has a feature of `view`."""
    limit = config.unmatched.views.get(view.name, config.unmatched.limit)
    shares = [view.empty, None if view.matched is None else 1.0 - view.matched]
    return any(found is not None and found >= limit for found in shares)


def match_findings(
    views: Sequence[ViewSummary], unmatched: Iterable[str], spec: ServiceSpec, config: ContractConfig
) -> Iterator[Finding]:
    """Views that are among the `unmatched`, and one line for the others."""
    sources = {view.name: view for view in spec.views}
    bad = [view for view in views if view.name in unmatched]
    for view in bad:
        limit = config.unmatched.views.get(view.name, config.unmatched.limit)
        source = sources.get(view.name)
        found = []
        if view.empty is not None:
            found.append(f"no feature in {'any row' if view.empty == 1.0 else f'{share(view.empty)} of the rows'}")
        if view.matched is not None:
            found.append(f"{share(view.matched)} of the rows met a row of the view")
        fix = "look at what the on-demand view's function returns"
        if source is not None:
            keys = f"these {', '.join(source.join_keys.values())}," if source.join_keys else "rows"
            fix = f"does {source.path} hold {keys} at times before the examples and within the view's ttl?"
        yield Finding(
            severity=config.unmatched.then,
            subject=view.name,
            rule="view matched",
            found="; ".join(found),
            allowed=f"features in more than {share(1.0 - limit)} of the rows",
            fix=fix,
        )
    least = min((1.0 - view.empty for view in views if view.empty is not None and view not in bad), default=None)
    detail = "" if least is None else f"; at least {share(least)} of the rows have features"
    yield from Finding.in_order(len(views) - len(bad), "view", "view matched", f"matched{detail}", "")


def leak_findings(views: Sequence[ViewSummary]) -> Iterator[Finding]:
    """Views of which a row was joined to an example before it; no config admits that."""
    for view in views:
        if view.age_min is not None and view.age_min < 0.0:
            yield Finding(
                severity="stop",
                subject=view.name,
                rule="no leak",
                found=f"feature rows up to {age(-view.age_min)} later than the example",
                allowed="feature rows of the example's time or before it",
                fix="the join is not point in time: use another offline store",
            )


def freshness_findings(views: Sequence[ViewSummary], spec: ServiceSpec, config: ContractConfig) -> Iterator[Finding]:
    """Views whose rows are older than the limit, or of which the join does not tell the age."""
    sources = {view.name for view in spec.views}  # an on-demand view has no rows that could be old
    good = []
    for view in views:
        limit = config.freshness.views.get(view.name, config.freshness.max_age)
        if limit is not None and view.matched is None and view.name in sources:
            yield _not_judged(view.name, age(limit.total_seconds()))
        if limit is None or view.age_p99 is None:
            continue
        if view.age_p99 <= limit.total_seconds():
            good.append((view.age_p99, view.name))
            continue
        yield Finding(
            severity=config.freshness.then,
            subject=view.name,
            rule="freshness",
            found=f"1 % of the joined rows are older than {age(view.age_p99)}",
            allowed=f"{age(limit.total_seconds())} for 99 %",
            fix="refresh the source more often, or give the view a shorter ttl",
        )
    if good:
        seconds, name = max(good)
        yield from Finding.in_order(
            len(good), "view", "freshness", f"99 % are younger than {age(seconds)} ({name})", ""
        )


def _not_judged(view: str, limit: str) -> Finding:
    return Finding(
        severity="warn",
        subject=view,
        rule="freshness",
        found="not judged: this offline store does not tell the age of what it joins",
        allowed=f"{limit} for 99 %",
        fix="use offline_store: {type: mtl_ray.data.offline_store.PointInTimeOfflineStore}, or take the limit away",
    )
