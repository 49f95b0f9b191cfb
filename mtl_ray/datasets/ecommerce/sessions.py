"""Who sees what and when: sessions of one to three pages, each page a slate of items shown at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mtl_ray.datasets.ecommerce.calendar import DAY, HOUR, MINUTE, SECOND, Calendar
from mtl_ray.datasets.ecommerce.population import Items, Users

DEVICES = ("desktop", "mobile", "tablet")
PAGE_SIZE = 6
MAX_PAGES = 3
_MORE_PAGES = 0.4
_MEAN_PAGES = 1 + (MAX_PAGES - 1) * _MORE_PAGES
_SCORES_PER_CHUNK = 2_000_000

_HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 7, 7, 7, 8, 9, 8, 7, 7, 8, 9, 11, 13, 14, 12, 8, 4], dtype=np.float64)
"""Relative number of sessions that begin in each hour of the day."""


@dataclass(frozen=True)
class Impressions:
    """N impressions in the order of (time, user, item); user and item are positions, not ids."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    device: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class _Sessions:
    user: NDArray[np.int64]
    begin: NDArray[np.int64]
    pages: NDArray[np.int64]


def draw_impressions(
    rng: Generator, users: Users, items: Items, calendar: Calendar, num_impressions: int
) -> Impressions:
    """About `num_impressions` impressions over all days of the calendar, history included."""
    sessions = _draw_sessions(rng, users, calendar, round(num_impressions / (PAGE_SIZE * _MEAN_PAGES)))
    chosen = _choose_items(rng, sessions, users, items, calendar)
    num_sessions = len(sessions.user)
    device = rng.choice(len(DEVICES), num_sessions, p=[0.35, 0.55, 0.1])
    pause = rng.integers(20 * SECOND, 3 * MINUTE, (num_sessions, MAX_PAGES))
    pause[:, 0] = 0
    page_time = sessions.begin[:, None] + pause.cumsum(axis=1)

    shape = (num_sessions, MAX_PAGES, PAGE_SIZE)
    shown = np.broadcast_to(np.arange(MAX_PAGES)[None, :, None] < sessions.pages[:, None, None], shape).ravel()
    user = np.broadcast_to(sessions.user[:, None, None], shape).ravel()
    timestamp = np.broadcast_to(page_time[:, :, None], shape).ravel()
    device = np.broadcast_to(device[:, None, None], shape).ravel()
    item = chosen.ravel()
    # A page that would be shown after the last midnight, or before the launch (fewer launched items than places).
    shown &= (timestamp < calendar.end) & (items.launch[item] <= timestamp)
    order = np.flatnonzero(shown)
    order = order[np.lexsort((item[order], user[order], timestamp[order]))]
    user, item, timestamp, device = user[order], item[order], timestamp[order], device[order]
    # Two sessions of one user could show one item in the same microsecond; keep the first.
    first = np.ones(len(user), dtype=bool)
    first[1:] = (np.diff(timestamp) != 0) | (np.diff(user) != 0) | (np.diff(item) != 0)
    return Impressions(user=user[first], item=item[first], timestamp=timestamp[first], device=device[first])


def _draw_sessions(rng: Generator, users: Users, calendar: Calendar, count: int) -> _Sessions:
    first_day = np.maximum(calendar.day_of(users.signup), 0)
    weight = users.activity * (calendar.num_days - first_day)
    user = rng.choice(len(users), count, p=weight / weight.sum())
    day = first_day[user] + (rng.random(count) * (calendar.num_days - first_day[user])).astype(np.int64)
    hour = rng.choice(24, count, p=_HOURS / _HOURS.sum())
    begin = calendar.start + day * DAY + hour * HOUR + rng.integers(0, HOUR, count)
    # Sign-up is the start of a first visit.
    early = begin < users.signup[user]
    begin[early] = users.signup[user][early] + rng.integers(SECOND, HOUR, int(early.sum()))
    pages = 1 + rng.binomial(MAX_PAGES - 1, _MORE_PAGES, count)
    return _Sessions(user=user, begin=begin, pages=pages)


def _choose_items(
    rng: Generator, sessions: _Sessions, users: Users, items: Items, calendar: Calendar
) -> NDArray[np.int64]:
    """`[sessions, MAX_PAGES, PAGE_SIZE]` distinct items a session: popular ones, more of the category that was sought.

    Sampling without replacement with weights exp(score) is the top of score + Gumbel noise (Vieira 2014; Kool et al.
    2019, "Stochastic beams and where to find them"). The pages share the top at random: a later page is no worse.
    """
    places = MAX_PAGES * PAGE_SIZE
    taste = users.category_taste[sessions.user]
    sought = (taste + rng.gumbel(size=taste.shape)).argmax(axis=1)
    day = np.minimum(calendar.day_of(sessions.begin), calendar.num_days - 1)
    chosen = np.empty((len(sessions.user), places), dtype=np.int64)
    step = max(1, _SCORES_PER_CHUNK // len(items))
    for start in range(0, len(sessions.user), step):
        part = slice(start, start + step)
        score = items.popularity[day[part]] + 2.0 * (sought[part, None] == items.category)
        score += 0.5 * taste[part][:, items.category]
        score += rng.gumbel(size=score.shape)
        score[items.launch > sessions.begin[part, None]] = -np.inf
        # argpartition promises a set, not an order; sorted, the shop is the same on every processor.
        chosen[part] = np.sort(np.argpartition(-score, places - 1, axis=1)[:, :places], axis=1)
    chosen = rng.permuted(chosen, axis=1)
    return chosen.reshape(len(sessions.user), MAX_PAGES, PAGE_SIZE)
