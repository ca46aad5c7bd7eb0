"""What a rule is: a function that says what is wrong, and a way to break what it guards."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rendered import Rendered


@dataclass
class Rule:
    """One sentence about the manifests that holds in every rendering."""

    sentence: str
    check: Callable[[Rendered], Iterable[str]]
    # Each damages a copy of a rendering so that the rule must object.
    damages: list[Callable[[Rendered], None]]
    # Where there is something to break.
    at: str


RULES: list[Rule] = []


def rule(at: str, *damages: Callable[[Rendered], object]):
    """Makes a rule of a function that yields what is wrong; its sentence is the function's documentation.

    `damages` are tried on the rendering `at`: after each the rule must object."""

    def register(check):
        RULES.append(Rule(" ".join(check.__doc__.split()), check, list(damages), at))
        return check

    return register


def problems(rule: Rule, rendered: Rendered) -> list[str]:
    """What the rule objects to. A rendering in which it cannot find what it looks for is wrong too."""
    try:
        return list(rule.check(rendered))
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
        return [f"cannot be looked at: {type(error).__name__}: {error}"]


def selftest(rule: Rule, rendered: Rendered) -> list[str]:
    """Whether each damage is noticed, and by an objection rather than by a failure to look."""
    found = []
    for number, damage in enumerate(rule.damages, 1):
        broken = Rendered(rendered.name, copy.deepcopy(rendered.objects))
        try:
            damage(broken)
        except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
            found.append(f"damage {number} finds nothing to break: {type(error).__name__}: {error}")
            continue
        objections = problems(rule, broken)
        if not objections:
            found.append(f"damage {number} is not noticed")
        elif any(text.startswith("cannot be looked at") for text in objections):
            found.append(f"damage {number}: {objections[0]}")
    return found if rule.damages else ["there is no way to break it"]
