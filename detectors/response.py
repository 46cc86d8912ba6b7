"""Does the water flow when the pump is told to run, and only then?

Both are looked at as on or off. Where they have disagreed for longer than `delay_s`, the pump does not answer its command,
or the flow meter is wrong.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from detectors.facts import Facts, Part
from detectors.records import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from detectors.detector import Step

__all__ = ["Response"]


class Response:
    """Command and flow of one pump: on above `on_above`, flowing above `flow_above`; the score is the time that they disagree.

    The code of its facts is ``no_flow`` where the pump should run, ``flow`` where it should not.
    """

    rule = "response"

    def __init__(
        self, *, command: str, flow: str, on_above: float, flow_above: float, delay_s: float, flow_unit: str = ""
    ) -> None:
        if not delay_s > 0:
            raise ValueError(f"response: expected a delay of more than 0 s, found {delay_s}")
        self._command, self._flow, self._flow_unit = command, flow, flow_unit
        self._on_above, self._flow_above = on_above, flow_above
        self._delay = timedelta(seconds=delay_s)
        self._commanded: float | None = None
        self._flowing: float | None = None
        self._at: datetime | None = None
        self._since: datetime | None = None

    def take(self, step: Step) -> None:
        """Takes a step of the command or of the flow; a hole leaves the other alone with nothing to be compared with."""
        if step.tag == self._command:
            before = self._is_on
            self._commanded = step.value
            if before is not None and self._is_on is not None and self._is_on != before:
                self._since = None
        else:
            self._flowing = step.value
        self._at = step.end_at if self._at is None else max(self._at, step.end_at)

    def judge(self) -> Verdict | None:
        """For how long they have disagreed, in units of the delay."""
        if self._at is None or self._commanded is None or self._flowing is None:
            return None
        on, flows = self._commanded > self._on_above, self._flowing > self._flow_above
        if on == flows:
            self._since = None
        elif self._since is None:
            self._since = self._at
        lasted = timedelta() if self._since is None else self._at - self._since
        facts = None
        if lasted > self._delay:
            facts = Facts(
                code="no_flow" if on else "flow",
                figures=(("lasted_s", lasted.total_seconds()),),
                parts=(Part(tag=self._flow, value=self._flowing, unit=self._flow_unit),),
            )
        return Verdict(
            tag=self._command,
            rule=self.rule,
            at=self._at,
            score=lasted / self._delay,
            value=self._commanded,
            facts=facts,
        )

    @property
    def _is_on(self) -> bool | None:
        return None if self._commanded is None else self._commanded > self._on_above
