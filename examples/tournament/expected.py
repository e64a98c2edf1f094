"""What the bots must score, by the reference implementation: the `axelrod` package, https://axelrod.readthedocs.io.

python examples/tournament/expected.py           write expected.json
python examples/tournament/expected.py --check   compare it with what axelrod says now; exit code 1 where they differ
"""

from __future__ import annotations

import itertools
import json
import sys
import warnings
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("expected.json")
ROUNDS: Final = 200
STRATEGIES: Final = {
    "adaptive": "Adaptive",
    "alternator": "Alternator",
    "appeaser": "Appeaser",
    "bully": "Bully",
    "cooperator": "Cooperator",
    "cycler_ccd": "CyclerCCD",
    "davis": "FirstByDavis",
    "defector": "Defector",
    "forges_messages": "Defector",  # its forgeries must not matter
    "forgiver": "Forgiver",
    "fortress3": "Fortress3",
    "gradual": "Gradual",
    "grudger": "Grudger",
    "handshake": "Handshake",
    "hard_majority": "HardGoByMajority",
    "nydegger": "FirstByNydegger",
    "prober": "Prober",
    "punisher": "Punisher",
    "shubik": "FirstByShubik",
    "soft_majority": "GoByMajority",
    "suspicious_tit_for_tat": "SuspiciousTitForTat",
    "tester": "SecondByTester",
    "tit_for_2_tats": "TitFor2Tats",
    "tit_for_tat": "TitForTat",
    "two_tits_for_tat": "TwoTitsForTat",
    "win_stay_lose_shift": "WinStayLoseShift",
}
"""Bots to classes of axelrod: the ones that toss no coins, so that every score is one number."""


def expected() -> dict[str, Any]:
    """Play every pair in axelrod: scores of both over ROUNDS rounds, under `a/b` with a before b in the alphabet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import axelrod

    scores = {}
    for a, b in itertools.combinations(sorted(STRATEGIES), 2):
        pair = [getattr(axelrod, STRATEGIES[name])() for name in (a, b)]
        match = axelrod.Match(pair, turns=ROUNDS)
        match.play()
        scores[f"{a}/{b}"] = [int(score) for score in match.final_score()]
    return {"axelrod": axelrod.__version__, "rounds": ROUNDS, "strategies": STRATEGIES, "scores": scores}


def text(values: dict[str, Any]) -> str:
    """The file's text: one line a pair, so that a difference is easy to read."""
    rows = ",\n".join(f"    {json.dumps(pair)}: {json.dumps(scores)}" for pair, scores in values["scores"].items())
    head = json.dumps({key: value for key, value in values.items() if key != "scores"}, indent=2)
    return f'{head[:-2]},\n  "scores": {{\n{rows}\n  }}\n}}\n'


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """One line for each value that differs; axelrod's own version may."""
    lines = [
        f"{key}: {found.get(key)} instead of {wanted[key]}"
        for key in ("rounds", "strategies")
        if found.get(key) != wanted[key]
    ]
    pairs = sorted(found["scores"].keys() | wanted["scores"].keys())
    return lines + [
        f"{pair}: {found['scores'].get(pair)} in {FILE.name}, {wanted['scores'].get(pair)} in axelrod"
        for pair in pairs
        if found["scores"].get(pair) != wanted["scores"].get(pair)
    ]


def main(arguments: list[str]) -> int:
    """Write the file, or compare it. Answers the exit code."""
    values = expected()
    if arguments == ["--check"]:
        wrong = differences(json.loads(FILE.read_text("utf-8")), values)
        print("\n".join(wrong) or f"{len(values['scores'])} pairs as in axelrod {values['axelrod']}")
        return bool(wrong)
    if arguments:
        print(__doc__)
        return 2
    FILE.write_text(text(values), "utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
