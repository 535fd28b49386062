"""Runs cases: `python tests/fuzz/fuzz_cases.py FORMAT [FIRST [COUNT]]` prints a line for each.

A case is a format and a number; its changed file lies in the folder that a failure names.
"""

import contextlib
import functools
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

SECONDS, BYTES = 5.0, 2**30  # of one case: processor time, and growth of memory
LONGEST = 1000  # characters of a message
QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
FROM_PYTHON = ("Warning:", "WARNING:", "Traceback")
READ, REFUSED = "read", "refused"  # the outcomes that are right


class TooLong(BaseException):
    """A case takes more than `SECONDS`. No reader catches it."""


class Outcome(NamedTuple):
    """What a case came to.

    Attributes:
      kind: `READ`, `REFUSED`, or a defect.
      seconds: of the processor.
      growth: of memory, in bytes.
      detail: the message.
    """

    kind: str
    seconds: float
    growth: int
    detail: str = ""


@functools.cache
def _seeds(format: str) -> list[tuple[str, dict[str, bytes]]]:
    from fuzz_formats import FORMATS

    return [(name, dict(files)) for name, files in FORMATS[format].seeds().items()]


def prepare(format: str, number: int, folder: Path) -> tuple[str, int]:
    """Write the files of a case into an empty folder; the changed one's name, and a choice."""
    from fuzz_formats import FORMATS

    rng = np.random.default_rng([zlib.crc32(format.encode()), number])
    variants = _seeds(format)
    _, files = variants[int(rng.integers(len(variants)))]
    names = list(files) if FORMATS[format].every else list(files)[:1]
    name = names[int(rng.integers(len(names)))]
    mutate = FORMATS[format].changes[int(rng.integers(len(FORMATS[format].changes)))]
    changed = mutate(rng, files[name])
    for each, content in files.items():
        (folder / each).write_bytes(changed if each == name else content)
        # Readers remember files by their time, whose steps may be longer than a case.
        os.utime(folder / each, ns=(number * 10**6, number * 10**6))
    return name, int(rng.integers(1000))


def run_case(format: str, number: int, folder: Path) -> Outcome:
    """Run one case in a new folder, which is kept if it shows a defect."""
    from fuzz_formats import FORMATS

    folder.mkdir()
    name, pick = prepare(format, number, folder)
    said = os.fstat(2).st_size
    before, start = _reset_peak(), time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        FORMATS[format].read(folder, name, pick)
        kind, detail = READ, ""
    except BaseException as error:
        kind, detail = _judge(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds, growth = time.process_time() - start, _status("VmHWM") - before
    noise = os.pread(2, 2000, said).decode(errors="replace")
    # libtiff prints from C, which Python cannot stop.
    own = name.endswith(".tif") and not any(word in noise for word in FROM_PYTHON)
    if kind in (READ, REFUSED) and noise and not own:
        kind, detail = "noise", noise
    if kind in (READ, REFUSED):
        shutil.rmtree(folder)
        return Outcome(kind, seconds, growth, detail)
    return Outcome(kind, seconds, growth, f"{folder}: {detail}")


def _judge(error: BaseException) -> tuple[str, str]:
    """The outcome that an error stands for."""
    from assl_jax.errors import InputError

    if isinstance(error, KeyboardInterrupt):
        raise error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return "memory", "".join(traceback.format_exception(error))
        cause = cause.__cause__ or cause.__context__
    if not isinstance(error, InputError):
        return type(error).__name__, "".join(traceback.format_exception(error))
    message = str(error)
    if not message.isprintable() or len(message) > LONGEST:
        return "message", ascii(message)
    return REFUSED, message


@contextlib.contextmanager
def limits(memory: int = resource.RLIM_INFINITY) -> Iterator[None]:
    """Bound time, and let what is printed go to a file, which `run_case` looks at.

    Args:
      memory: bytes by which the process may grow. Only for a process of one's own: at the limit,
        what is compiled at that moment may crash.
    """
    from assl_jax.console import set_quiet

    def stop(*_: object) -> None:
        raise TooLong

    set_quiet(True)  # the program's own lines on progress are no noise
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, stop)
    shown, errors = os.dup(1), os.dup(2)
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile(buffering=0) as said, warnings.catch_warnings():
        warnings.simplefilter("always")
        for kind in QUIET:
            warnings.simplefilter("ignore", kind)
        # Opened again for each: the position is shared, and text is added at the end.
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        if memory != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + memory, hard))
        try:
            yield
        finally:
            set_quiet(False)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            signal.signal(signal.SIGPROF, handler)
            os.dup2(shown, 1)
            os.dup2(errors, 2)
            os.close(shown)
            os.close(errors)


def warm(format: str, folder: Path) -> None:
    """Read every valid variant, which must succeed. This also loads what the format needs."""
    import jax
    from fuzz_formats import FORMATS

    from assl_jax.errors import InputError

    for variant, files in _seeds(format):
        there = folder / f"valid {variant}".replace("/", "-")
        there.mkdir()
        for name, content in files.items():
            (there / name).write_bytes(content)
        jax.random.key(0).block_until_ready()  # what JAX loads at its first use counts for no case
        for pick in range(10):  # not every setting fits every variant
            with contextlib.suppress(InputError):
                FORMATS[format].read(there, next(iter(files)), pick)
                break
        else:
            raise AssertionError(f"{format}, {variant}: a valid file is refused")
        shutil.rmtree(there)


def _status(name: str) -> int:
    """A line of the process's status, in bytes."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(name))


def _reset_peak() -> int:
    """Let the highest memory begin at the present one, which is returned."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def main(format: str, first: str = "0", count: str = "1") -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{format}-"))
    warm(format, folder)
    with os.fdopen(os.dup(1), "w") as answers, limits(BYTES):
        answers.write("ready\n")
        for number in range(int(first), int(first) + int(count)):
            outcome = run_case(format, number, folder / str(number))
            kind, seconds, growth, detail = outcome
            answers.write(f"{number} {kind} {seconds:.6f} {growth} {ascii(detail)}\n")
            answers.flush()
    with contextlib.suppress(OSError):  # what shows a defect is kept
        folder.rmdir()


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    sys.path[:0] = [str(root / "tests" / "support"), str(root)]
    main(*sys.argv[1:])
