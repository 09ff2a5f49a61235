"""The expected bill of a run until its last step is done, in closed form.

Losses of machines are independent and come at a constant rate; one lost machine stops the run,
which then starts again from its newest checkpoint. A piece of ``a`` hours that has to pass without
a loss takes (e^(l a) - 1) / l billed hours on average, with all its repeats, where l is the rate
of the whole job.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HOURS_PER_MONTH = 730.0
"""Hours of the month that prices per month are meant for."""


@dataclass(frozen=True, slots=True)
class ExpectedCost:
    """What a completed run is expected to cost; hours, USD and GB.

    Attributes:
        expected_billed_hours: Hours that the machines are paid for.
        expected_wall_hours: Billed hours and those without a machine.
        expected_interruptions: Losses of a machine.
        checkpoints_written: Checkpoints, one at the end of each segment.
        cost_gpu: USD for the machines.
        cost_disk: USD for the disk, which is also paid while there is no machine.
        cost_transfer: USD for uploading every checkpoint and fetching one after each loss.
        expected_total: USD for all of it.
        interval_hours: Useful hours between checkpoints that the bill was worked out for.
        tau_young: Young's approximation of the interval with the least time, in hours; None where
            nothing is ever lost.
        tau_daly: Daly's approximation, likewise.
        tau_exact: The exact interval, likewise.
    """

    expected_billed_hours: float
    expected_wall_hours: float
    expected_interruptions: float
    checkpoints_written: int
    cost_gpu: float
    cost_disk: float
    cost_transfer: float
    expected_total: float
    interval_hours: float
    tau_young: float | None
    tau_daly: float | None
    tau_exact: float | None


def expected_cost(
    *,
    useful_hours: float,
    price_per_hour: float,
    machines: int = 1,
    preempt_rate_per_machine_hour: float = 0.0,
    ckpt_hours: float = 0.0,
    restart_hours: float = 0.0,
    interval_hours: float | None = None,
    wait_hours: float = 0.0,
    disk_gb: float = 0.0,
    disk_price_gb_hour: float = 0.0,
    ckpt_gb: float = 0.0,
    upload_price_gb: float = 0.0,
    download_price_gb: float = 0.0,
    min_charge_hours: float = 0.0,
) -> ExpectedCost:
    """The expected bill of a completed run.

    Args:
        useful_hours: Hours of work on this hardware if nothing were ever lost or saved.
        price_per_hour: USD per hour for all machines together.
        machines: Machines; the loss of one stops the run.
        preempt_rate_per_machine_hour: Losses of one machine per hour.
        ckpt_hours: Hours that training stands still for each checkpoint.
        restart_hours: Billed hours from the machine being there to training going on.
        interval_hours: Useful hours between checkpoints; None takes those of the smallest bill.
        wait_hours: Unbilled hours until a lost machine is replaced.
        disk_gb: Disk of the run.
        disk_price_gb_hour: USD per GB and hour.
        ckpt_gb: Size of one checkpoint.
        upload_price_gb: USD per GB out of the machines.
        download_price_gb: USD per GB into them.
        min_charge_hours: Hours that are paid for at least, as on prepaid machines.

    Returns:
        The bill. A run that would practically never end has infinite hours and cost.

    Raises:
        ValueError: An input is negative, is no finite number, or the interval is not above 0.
    """
    values = {
        "useful_hours": useful_hours,
        "price_per_hour": price_per_hour,
        "machines": machines,
        "preempt_rate_per_machine_hour": preempt_rate_per_machine_hour,
        "ckpt_hours": ckpt_hours,
        "restart_hours": restart_hours,
        "interval_hours": 1.0 if interval_hours is None else interval_hours,
        "wait_hours": wait_hours,
        "disk_gb": disk_gb,
        "disk_price_gb_hour": disk_price_gb_hour,
        "ckpt_gb": ckpt_gb,
        "upload_price_gb": upload_price_gb,
        "download_price_gb": download_price_gb,
        "min_charge_hours": min_charge_hours,
    }
    for name, value in values.items():
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} has to be a finite number of at least 0, not {value!r}")
    if machines < 1:
        raise ValueError(f"machines has to be at least 1, not {machines!r}")
    if values["interval_hours"] == 0:
        raise ValueError("interval_hours has to be above 0: a run cannot only write checkpoints")
    rate = float(machines * preempt_rate_per_machine_hour)
    work, price = float(useful_hours), float(price_per_hour)
    pause, restart = float(ckpt_hours), float(restart_hours)
    upload = float(ckpt_gb) * float(upload_price_gb)
    disk = float(disk_gb) * float(disk_price_gb_hour)
    download = float(ckpt_gb) * float(download_price_gb)
    if interval_hours is None:
        hourly = price + disk + rate * (disk * float(wait_hours) + download)
        interval = cheapest_interval(work, rate, pause, restart, hourly, upload)
        charged = float(min_charge_hours)
        if rate and charged:
            interval = _within_charge(
                work, rate, pause, restart, interval, charged, hourly - price, upload
            )
    else:
        interval = float(interval_hours)
    count = segments(work, interval)
    billed = billed_hours(work, interval, count, rate, pause, restart)
    lost = _times(rate, billed)
    wall = billed + _times(lost, float(wait_hours))
    gpu = _times(price, max(billed, float(min_charge_hours)))
    storage = _times(disk, wall)
    transfer = count * upload + _times(lost, download)
    young, daly, exact = best_intervals(rate, pause)
    return ExpectedCost(
        expected_billed_hours=billed,
        expected_wall_hours=wall,
        expected_interruptions=lost,
        checkpoints_written=count,
        cost_gpu=gpu,
        cost_disk=storage,
        cost_transfer=transfer,
        expected_total=gpu + storage + transfer,
        interval_hours=interval,
        tau_young=young,
        tau_daly=daly,
        tau_exact=exact,
    )


def segments(work: float, interval: float) -> int:
    """Stretches of work that end with a checkpoint, the last one included."""
    # 1.1 / 0.1 is a little more than 11, which must not make a twelfth of no length.
    return max(math.ceil(work / interval * (1 - 1e-12) - 1e-9), 1 if work else 0)


def billed_hours(
    work: float, interval: float, count: int, rate: float, pause: float, restart: float
) -> float:
    """Expected hours that are paid for: getting ready once, and every segment with its repeats."""
    if not count:
        return _until_passed(rate, restart)
    last = work - (count - 1) * interval
    full = _until_passed(rate, interval + pause) if count > 1 else 0.0
    passed = (count - 1) * full + _until_passed(rate, last + pause)
    return _until_passed(rate, restart) + _times(_exp(rate * restart), passed)


def best_intervals(rate: float, pause: float) -> tuple[float | None, float | None, float | None]:
    """Useful hours between checkpoints with the least time: Young's, Daly's and the exact ones."""
    # Without losses, or with those of a rate whose mean is beyond every number, none is best.
    if not rate or not math.isfinite(1 / rate):
        return None, None, None
    young = math.sqrt(2 * pause / rate)
    if pause < 2 / rate:
        load = pause * rate
        daly = young * (1 + math.sqrt(load / 2) / 3 + load / 18) - pause
    else:
        daly = 1 / rate
    return young, daly, _share_of_mean(rate * pause) / rate


def cheapest_interval(
    work: float, rate: float, pause: float, restart: float, hourly: float, per_checkpoint: float
) -> float:
    """Useful hours between checkpoints with the smallest bill, all segments of one length.

    Args:
        work: Useful hours.
        rate: Losses per hour of the whole job.
        pause: Hours without training for each checkpoint.
        restart: Billed hours of a restart.
        hourly: USD that one more billed hour costs with everything that comes with it.
        per_checkpoint: USD that one more checkpoint costs.
    """
    if not work or not rate or not hourly:
        return work or 1.0
    # Of n segments the even ones cost least, and the bill is convex in n, so its smallest value
    # lies next to that of the continuous one: there the exact rule holds with what a checkpoint
    # costs turned into hours, which repeats of a restart make shorter.
    extra = per_checkpoint / (hourly * _exp(rate * restart))
    pause_value = _share_of_mean_dear(rate, pause, extra)
    if not pause_value:
        return work / 1_000_000
    guess = max(min(work / (pause_value / rate), 1e12), 1.0)
    few = math.floor(guess)
    factor = _exp(rate * restart)

    def bill(count: int) -> float:
        passed = count * _until_passed(rate, work / count + pause)
        return _times(hourly * factor, passed) + count * per_checkpoint

    return work / min((few, few + 1), key=bill)


def _within_charge(
    work: float,
    rate: float,
    pause: float,
    restart: float,
    interval: float,
    charged: float,
    hourly: float,
    per_checkpoint: float,
) -> float:
    """The cheapest interval where hours up to ``charged`` are paid for whether used or not."""

    def billed(count: int) -> float:
        return billed_hours(work, work / count, count, rate, pause, restart) if count else 0.0

    most = segments(work, interval)
    if not most or billed(most) >= charged:
        return interval
    # Within them only disk and traffic cost, so fewer checkpoints are best, until they are used up.
    free = cheapest_interval(work, rate, pause, restart, hourly, per_checkpoint)
    least = min(segments(work, free), most)
    if billed(least) < charged:
        return work / least
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if billed(middle) < charged else (middle, most)
    return work / most


def _share_of_mean_dear(rate: float, pause: float, extra: float) -> float:
    """u = l tau of the smallest bill where a checkpoint costs ``extra`` hours beside its pause.

    The bill of n segments has its minimum where (1 - u) e^u = e^(-l C) (1 - l x extra).
    """
    # Where a checkpoint costs more than the mean time between losses, u lies above 1.
    shrunk = math.exp(-rate * pause) * (1 - rate * extra)
    if shrunk > 0:
        return _share_of_mean(-math.log(shrunk))
    return _beyond_mean(-shrunk)


def _beyond_mean(excess: float) -> float:
    """The u >= 1 with (u - 1) e^u = excess."""
    u = 1 + min(excess / math.e, math.log1p(excess))
    for _ in range(60):
        step = ((u - 1) - excess * math.exp(-u)) / (1 + excess * math.exp(-u))
        u -= step
        if abs(step) < 1e-14 * u:
            break
    return max(u, 1.0)


def _share_of_mean(load: float) -> float:
    """u = 1 + W0(-e^(-1 - load)), the exact interval as a share of the mean time between losses.

    It is the u from 0 to 1 with -log(1 - u) - u = load. Newton's steps from above come down to
    it, as that side is convex.
    """
    if load <= 0:
        return 0.0
    u = min(math.sqrt(2 * load), -math.expm1(-1 - load))
    for _ in range(60):
        if u >= 1:
            return 1.0
        step = (_excess(u) - load) * (1 - u) / u
        u -= step
        if step < 1e-15 * u:
            break
    return u


def _excess(u: float) -> float:
    """-log(1 - u) - u, without the loss of digits that the difference has near 0."""
    if u > 0.01:
        return -math.log1p(-u) - u
    return u * u * (1 / 2 + u * (1 / 3 + u * (1 / 4 + u * (1 / 5 + u * (1 / 6 + u / 7)))))


def _until_passed(rate: float, hours: float) -> float:
    """Expected hours until a stretch has passed without a loss."""
    load = rate * hours
    if load < 1e-12:
        return hours
    try:
        return math.expm1(load) / rate
    except OverflowError:
        return math.inf


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _times(one: float, other: float) -> float:
    """A product in which 0 of something endless is 0."""
    return one * other if one and other else 0.0
