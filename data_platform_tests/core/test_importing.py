"""A process that imports much: no garbage is looked for meanwhile, and at its end all that was to be done is done.
Not here: what a command says when it ends (cli)."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap

from data_platform.core.importing import importing


def test_no_garbage_is_looked_for_while_importing_and_then_as_before() -> None:
    assert gc.isenabled()
    with importing():
        assert not gc.isenabled()
        with importing():
            pass
        assert not gc.isenabled(), "who is inside another decides nothing"
    assert gc.isenabled()


FREEZING = textwrap.dedent("""
    import gc, duckdb, polars
    from data_platform.core.importing import freeze_imported

    freeze_imported()
    print(gc.get_freeze_count() > 10_000, gc.isenabled())
""")


def test_what_was_imported_is_not_looked_through_again_and_no_leak_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", FREEZING], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True True\n", "")


ENDING = textwrap.dedent("""
    import atexit, sys, threading, time
    from data_platform.core.importing import end_at_once

    class Left:
        def __del__(self): print("taken apart")

    left = Left()
    left.itself = left
    atexit.register(print, "at the end")
    threading.Thread(target=lambda: (time.sleep(0.5), print("thread done"))).start()
    sys.stdout.write("said, ")
    end_at_once(3)
    print("never")
""")


def test_what_was_to_be_done_at_the_end_is_done_and_nothing_is_taken_apart() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stdout.splitlines() == ["said, thread done", "at the end"]
    assert done.stderr == ""


def test_what_can_no_longer_be_written_is_told_in_pythons_way() -> None:
    command = [sys.executable, "-c", "from data_platform.core.importing import end_at_once; print(1); end_at_once(0)"]
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 120
    assert process.stderr is not None
    assert "BrokenPipeError" in process.stderr.read()
