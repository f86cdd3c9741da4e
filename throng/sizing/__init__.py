"""What a number of members, a rate and a block setting need: edges, cores, memory, network, Kafka, MySQL, Redis (`throng plan`).

    Crowd (what is asked) + Assumptions (what a thing costs, each with its source) + WireSizes (bytes by the real codecs)
        --size()--> Sizing: figures, each with its formula, and warnings

Arithmetic alone, but for `self_test.py`, which measures what a send costs on this machine. docs/plan.md has the formulas.

- `crowd.py`         what is asked, checked
- `assumptions.py`   what a thing costs, and where that is from
- `wire_sizes.py`    bytes of frames and records
- `calculation.py`   the formulas
- `figures.py`       the result, as text and as JSON
- `bench_reports.py` costs from reports of `throng bench`
- `self_test.py`     costs measured on this machine in a few seconds
- `drain.py`         the other end of the self-test's sockets, a process of its own
"""

from throng.sizing.assumptions import Assumption, Assumptions
from throng.sizing.calculation import size
from throng.sizing.crowd import Crowd, Delivery
from throng.sizing.figures import Figure, Sizing
from throng.sizing.wire_sizes import WireSizes

__all__ = ["Assumption", "Assumptions", "Crowd", "Delivery", "Figure", "Sizing", "WireSizes", "size"]
