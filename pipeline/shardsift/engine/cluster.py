"""The Ray cluster: join or start one, and count what fits on it."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import socket
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import ray

from shardsift.engine.environment import is_joined
from shardsift.errors import ConfigError, EngineError

_PACKAGE = str(Path(__file__).parents[1])
_EPSILON = 1e-6
_LEAST_FREE_BYTES = 20 << 20
_LEAST_ADDRESS_SPACE = 20 << 30
_KNOCK_SECONDS = 5.0
_LATEST_CLUSTER = Path("/tmp/ray/ray_current_cluster")  # the file that ray.init reads for `auto`
_WITHOUT_GPU = "pass --gpus-per-actor 0 to score on CPUs, which is slow"

logger: Final = logging.getLogger(__name__)


@contextmanager
def connected(address: str | None, cpus: int | None = None) -> Generator[None]:
    """Join the cluster at `address` (or in RAY_ADDRESS), else start one on this machine.

    `cpus` is the number of cores of a local cluster. If this process is connected to Ray already,
    that cluster is used.

    Raises:
        ConfigError: if there is no cluster at the address.
        EngineError: if none can be started.
    """
    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    pool = ThreadPoolExecutor(1, "ray")  # Ray's processes end with the thread that started them
    try:
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if not is_joined(address):
            _check_machine()
            options |= {"include_dashboard": False, "num_cpus": cpus}
        else:
            # The nodes may lack Shardsift, or have another version than this process.
            options["runtime_env"] = {"py_modules": [_PACKAGE]}
        where = (address or "auto") if is_joined(address) else "local"
        try:
            _knock(where)
            _start(partial(ray.init, where, **options), pool)
        except OSError as error:
            raise ConfigError(f"--address {where}: no Ray cluster: {_line(error)}") from error
        except ValueError as error:
            if "merge" in str(error):  # the job's runtime environment can't be merged with ours
                raise ConfigError(
                    "this job has py_modules, which is how Shardsift sends its package to "
                    "actors; submit the job without them"
                ) from error
            raise ConfigError(f"--address {where}: can't join: {_line(error)}") from error
        except Exception as error:  # Ray raises RuntimeError, its own types, and Exception
            logs = _ray_folder() / "session_latest" / "logs"
            raise EngineError(f"Ray can't start: {_line(error)}; its logs are in {logs}") from error
        yield
    finally:
        ray.shutdown()
        pool.shutdown(wait=False)


def _start(start: Callable[[], object], pool: Executor) -> None:
    """Start Ray in another thread, where it replaces no signal handlers.

    In this one, a signal that arrives while Ray forks would be lost, and leave the lock of
    `logging` held: Python ignores exceptions in handlers that run around a fork.
    """
    starting = pool.submit(start)
    try:
        starting.result()
    except KeyboardInterrupt:
        wait([starting])  # what has half started can't be ended
        raise


def _ray_folder() -> Path:
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp", "ray")


def _check_machine() -> None:
    """Refuse what Ray answers by a long wait, or by aborting this process.

    Raises:
        ConfigError: for a full disk, and for a limit of this shell.
    """
    folder = _ray_folder()
    place = folder if folder.exists() else folder.parent
    if place.exists() and (free := shutil.disk_usage(place).free) < _LEAST_FREE_BYTES:
        raise ConfigError(
            f"{place}: has {free / 1e6:.1f} MB free for Ray's files; make room, or set "
            "RAY_TMPDIR to another folder"
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE:
        raise ConfigError(
            f"this shell allows {limit / 1e9:.1f} GB of address space, and Ray's processes "
            f"reserve up to {_LEAST_ADDRESS_SPACE / 1e9:.0f} GB of it: ulimit -v unlimited"
        )


def _knock(address: str) -> None:
    """Raise OSError if no server listens: Ray would try for minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    if address == "auto" and _LATEST_CLUSTER.exists():
        address = _LATEST_CLUSTER.read_text().strip()
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()


def check_gpu(address: str | None, gpus: float) -> None:
    """Check that this machine has a GPU if actors need one, before weights are loaded.

    Where a cluster is joined, only it knows; `choose_actors` asks it later.

    Raises:
        ConfigError: if actors need GPUs, are to run on this machine, and it has none.
    """
    if gpus == 0 or is_joined(address) or ray.is_initialized():
        return
    import torch

    if torch.cuda.device_count() == 0:
        raise ConfigError(f"this machine has no GPU for an actor; {_WITHOUT_GPU}")


def fitting_actors(gpus: float, cpus: float) -> int:
    """Count the actors of this size that the cluster's live nodes hold when nothing else runs."""
    return sum(_fit_on(node["Resources"], gpus, cpus) for node in _live_nodes())


def share_of_cores(wanted: int | None, gpus: float) -> int:
    """Return the cores for each of `wanted` actors, or of as many as have GPUs; 1 without GPUs.

    Of several nodes that which has the fewest for each decides.
    """
    if gpus == 0:
        return 1
    shares: list[int] = []
    for node in _live_nodes():
        resources = node["Resources"]
        actors = _fit_by_gpu(resources, gpus)
        if actors:
            shares.append(int(resources.get("CPU", 0) / min(actors, wanted or actors) + _EPSILON))
    return max(1, min(shares, default=1))


def count_resources() -> tuple[int, int, int]:
    """Count nodes, cores and GPUs of the cluster."""
    nodes = [node["Resources"] for node in _live_nodes()]
    cpus, gpus = (sum(int(node.get(name, 0)) for node in nodes) for name in ("CPU", "GPU"))
    return len(nodes), cpus, gpus


def live_node_ids() -> set[str]:
    """List the ids of the nodes that Ray believes alive."""
    return {node["NodeID"] for node in _live_nodes()}


def choose_actors(wanted: int | None, gpus: float, cpus: float, *, may_grow: bool = False) -> int:
    """Choose the number of actors to start: `wanted`, or as many as fit.

    On a cluster that may grow, `wanted` may be more than fit now: Ray starts the others as soon
    as there are nodes for them.

    Raises:
        ConfigError: if they don't fit, with what to change.
    """
    fitting = fitting_actors(gpus, cpus)
    if wanted is not None and may_grow:
        if wanted > fitting:
            logger.info("%d of %d actors fit now; the others wait for nodes", fitting, wanted)
        return wanted
    if fitting == 0 and gpus > 0:
        raise ConfigError(
            f"no node of the cluster has {gpus:g} GPU and {cpus:g} CPU for an actor; {_WITHOUT_GPU}"
        )
    if fitting == 0:
        raise ConfigError(
            f"no node of the cluster has {cpus:g} CPU for an actor; lower --cpus-per-actor"
        )
    if wanted is not None and wanted > fitting:
        raise ConfigError(
            f"--actors {wanted}: the cluster holds {fitting} of {gpus:g} GPU and {cpus:g} CPU; "
            "lower --actors, --gpus-per-actor or --cpus-per-actor"
        )
    return wanted or fitting


def _fit_on(resources: dict[str, float], gpus: float, cpus: float) -> int:
    by_cpu = int(resources.get("CPU", 0) / cpus + _EPSILON)
    if gpus == 0:
        return by_cpu
    return min(by_cpu, _fit_by_gpu(resources, gpus))


def _fit_by_gpu(resources: dict[str, float], gpus: float) -> int:
    # Ray gives a fraction of one GPU or whole GPUs, never parts of two.
    available = int(resources.get("GPU", 0) + _EPSILON)
    return available * int(1 / gpus + _EPSILON) if gpus < 1 else int(available / gpus + _EPSILON)


def _live_nodes() -> list[dict[str, Any]]:
    return [node for node in cast(list[dict[str, Any]], ray.nodes()) if node["Alive"]]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
