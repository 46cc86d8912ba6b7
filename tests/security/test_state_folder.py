"""Who may choose where the state is written?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from stream.journal.journal import Journal, JournalError

if TYPE_CHECKING:
    from pathlib import Path


def journal(folder: Path) -> Journal:
    return Journal(folder / "journal.sqlite3", max_size_mb=16, keep_days=1)


def test_a_link_of_our_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    journal(tmp_path / "link").close()
    assert (tmp_path / "real" / "journal.sqlite3").is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link another user's")
def test_a_link_of_somebody_else_is_refused_and_nothing_is_written_through_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    os.lchown(link, 4242, 4242)
    with pytest.raises(JournalError, match=f"found {link}, a link of user 4242. Remove it"):
        journal(link)
    assert list((tmp_path / "real").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link another user's")
def test_the_service_does_not_start_on_one(run_service: Any, configuration: Any, tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to(tmp_path)
    os.lchown(tmp_path / "state", 4242, 4242)
    service = run_service(configuration(1))
    assert service._process.wait(20) == 1
    assert "a link of user 4242. Remove it" in service.log
    assert "Traceback" not in service.log
