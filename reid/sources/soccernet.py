"""The real download: the SoccerNet package's own downloader, its traps taken out.

Checked against SoccerNet 0.2.0 with huggingface_hub 2.4.0; what 0.1.62 does differently is dealt with too.
"""

import base64
import errno
import hashlib
import logging
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

from reid.core.checksums import Sums, write_sums
from reid.core.cli import log
from reid.core.copying import read_through
from reid.core.errors import ReidError
from reid.core.files import regular, replacing
from reid.raw.directory import list_members
from reid.sources.checks import examine, readable, require_split

ZIP_GB = {"train": 12.12, "valid": 2.35, "test": 2.41, "challenge": 1.75}  # as published; 1 GB is 1e9 bytes
DATASET = "https://huggingface.co/datasets/SoccerNet/SN-ReID-2023"  # where SoccerNet 0.2 fetches task "reid" from

_BY_HAND = (
    "Or download the four zips by hand into one folder and set download.source: local and download.path to it in "
    "params.yaml."
)
_ACCESS = f"Request access at {DATASET}, log in with `hf auth login` (or set HF_TOKEN) and run again."
_NETWORK = "Check the connection and the proxy (and that HF_HUB_OFFLINE is not set) and run again."
# By name, because SoccerNet and huggingface_hub have changed their HTTP library (urllib, requests, httpx, httpx2).
_NETWORK_ERRORS = {
    "ConnectionError",
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "Timeout",
    "TimeoutError",
    "TransportError",
    "URLError",
    "gaierror",
}


def from_soccernet(
    split: str, path: Path | str, work: Path | str, pin: str | None = None, progress: bool = True
) -> dict[str, Any]:
    """Download one split with the SoccerNet package.

    The download is kept as ``{work}/reid/{split}.zip`` and used again while it is complete. ``path`` is a hard link to
    it where the file system has them: one zip on the disk, and to delete ``path`` costs no second download.

    Args:
        split: train, valid, test or challenge.
        path: the zip to make.
        work: folder of the downloader, kept between runs; one process per split at a time.
        pin: SHA-256 that the zip must have; None for any.
        progress: show progress bars (on a terminal).

    Returns:
        dict: the receipt of :func:`reid.sources.checks.check_zip`, and ``source``.

    Raises:
        ReidError: access refused, no network, disk full, no complete zip came, or it is not the pinned one.
    """
    require_split(split)
    work = Path(os.path.expanduser(work))
    kept = work / "reid" / f"{split}.zip"
    with readable(kept):
        if os.path.lexists(kept):
            try:
                list_members(regular(kept))
            except ReidError:
                if not kept.is_file():
                    raise
                # The downloaders trust a file that is there, so a truncated one would stay for good.
                log.info(f"{kept}: is not complete, it is removed and fetched again")
                kept.unlink()
        if not kept.exists():
            work.mkdir(parents=True, exist_ok=True)
            _check_space(split, work)
            _download(split, work, kept, progress)
        receipt, sums = examine(kept, split, pin, progress)
        _publish(kept, Path(path), sums, progress)
    return {**receipt, "source": "soccernet"}


def _publish(kept: Path, path: Path, sums: Sums, progress: bool) -> None:
    """Make ``path`` a hard link to ``kept``, or a copy where there are none, with the present time and its digests."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(kept), partial)
    except OSError:  # another file system, or one without hard links
        with replacing(path, lambda: sums) as partial:
            read_through(kept, f"copy {kept.name}", progress, partial)
        return
    os.utime(partial)  # a link has the time of the download, and Snakemake would take what follows for newer
    write_sums(path, sums, partial)
    partial.unlink(missing_ok=True)  # it stays where path already was a link to the same file


def _check_space(split: str, work: Path) -> None:
    """Fail before the download, not after hours of it: huggingface_hub only warns.

    huggingface_hub 2 writes to ``HASH.ETAG.RANDOM.incomplete`` and removes it when it fails; a killed process leaves
    it there, and it is never used again, so it is removed here. Older ones resume ``HASH.ETAG.incomplete``.
    """
    name = base64.urlsafe_b64encode(hashlib.sha1(f"{split}.zip.metadata".encode()).digest()).decode()
    there = 0
    for partial in (work / "reid/.cache/huggingface/download").glob(f"{name}.*.incomplete"):
        if re.search(r"\.[0-9a-f]{8}\.incomplete$", partial.name):
            partial.unlink()
        else:
            there += partial.stat().st_size
    needed, free = ZIP_GB[split] * 1e9 - there, shutil.disk_usage(work).free
    if free < needed:
        raise ReidError(
            f"{work}: the download of {split}.zip needs {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free; free "
            "some space and run again"
        )


class _Listener(logging.Handler):
    """Keeps what is logged from warnings on."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _download(split: str, work: Path, kept: Path, progress: bool) -> None:
    """Fetch ``kept`` with the SoccerNet package; a ReidError if it does not come."""
    # Here and not above: the import takes a second, and only a download needs it.
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars
    from SoccerNet.Downloader import SoccerNetDownloader

    (enable_progress_bars if progress else disable_progress_bars)()
    said: list[str] = []
    listener = _Listener(said)
    logger = logging.getLogger("huggingface_hub")
    logger.addHandler(listener)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Not enough free disk space")
            SoccerNetDownloader(LocalDirectory=str(work)).downloadDataTask(task="reid", split=[split])
    except Exception as error:
        raise ReidError(f"{kept}: the download failed: {_reason(error, kept)} {_BY_HAND}") from error
    finally:
        logger.removeHandler(listener)
    if not kept.is_file():
        # huggingface_hub takes a folder with anything in it for the data when the hub refuses or is not reached, and
        # SoccerNet 0.1 prints the error: both return as if all were well.
        words = " ".join(" ".join(said).split()) or "nothing to the log, see its output above"
        advice = _ACCESS if re.search(r"\b40[134]\b|gated|restricted", words) else _NETWORK if said else _ACCESS
        raise ReidError(f"{kept}: is not there after the download; the downloader said: {words} {advice} {_BY_HAND}")


def _reason(error: BaseException, kept: Path) -> str:
    """What went wrong in a download, and what to do, from the error and those it was raised from."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    root = chain[-1]
    full = r"No space left|Not enough free disk space|[Qq]uota exceeded"
    if any(getattr(e, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or re.search(full, str(e)) for e in chain):
        return f"the disk is full ({_line(root)}). Free some space for {kept.parent} and run again."
    if isinstance(error, OSError) and error.errno and error.filename:
        return f"{error.filename} cannot be read or written ({error.strerror})."
    for e in chain:
        # SoccerNet raises PermissionError for every status, a server's failure too: the status decides.
        status = getattr(getattr(e, "response", None), "status_code", None) or getattr(e, "code", None)
        if status in (401, 403, 404):  # 404 is what one who may not see a private dataset gets
            return f"access is refused ({_line(e)}). {_ACCESS}"
        if isinstance(status, int):
            return f"the server answered {status} ({_line(e)}). Run again later."
    if any(isinstance(e, PermissionError) for e in chain):
        return f"access is refused ({_line(error)}). {_ACCESS}"
    if any(kind.__name__ in _NETWORK_ERRORS for e in chain for kind in type(e).__mro__):
        return f"there is no connection ({_line(root)}). {_NETWORK}"
    return f"{_line(error)}. Run again."


def _line(error: BaseException) -> str:
    """Kind and first line of an error."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
