"""A papermill engine that tells each cell's start and end and saves the notebook after each."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import nbformat
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NotebookExecutionManager

from nablahub.notebook_engine.kernel import death_of, manager, obituary
from nablahub.notebook_engine.reports import Reporter

#: A kernel may send its reply and end at once: what it sent shall still be read.
LAST_WORDS_SECONDS = 0.2
#: Outputs of a cell may come after its reply; waiting for them is no error.
IOPUB_SECONDS = 30
#: How long a kernel may take to end in its own way once it is asked to.
GOODBYE_SECONDS = 5
#: The kernel of any Python, as ipykernel installs it.
KERNELSPEC: Final = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}


class KernelDied(Exception):
    """The kernel ended while a cell ran.

    Parameters
    ----------
    cell, of : int
        The code cell's number (from 1) and how many there are.
    why : str
        How the process ended.
    returncode : int or None
        Its exit code, negative for a signal.
    """

    def __init__(self, cell: int, of: int, why: str, returncode: int | None) -> None:
        super().__init__(f"the kernel died in cell {cell} of {of}: {why}")
        self.cell = cell
        self.of = of
        self.returncode = returncode


class Record(NotebookExecutionManager):  # type: ignore[misc]  # untyped base
    """Keeps the executed notebook on disk: whole at any moment, also when we are killed."""

    def save(self, **_: Any) -> None:
        """Write the notebook beside its place, then move it there."""
        path = Path(self.output_path)
        draft = path.with_name(f".{path.name}.part")
        draft.write_text(nbformat.writes(self.nb), encoding="utf-8")
        draft.replace(path)
        self.last_save_time = self.now()


class Client(PapermillNotebookClient):  # type: ignore[misc]  # untyped base
    """Runs the cells, telling about each, and notices a dead kernel at once."""

    def __init__(self, record: Record, reporter: Reporter, **options: Any) -> None:
        super().__init__(record, **options)
        self._reporter = reporter
        # A failed start leaves no manager behind; this one still knows how the process ended.
        self._manager = self.km

    def execute(self, **options: Any) -> Any:
        """Run the notebook in the kernel."""
        self.reset_execution_trackers()
        with self.setup_kernel(**options):
            info = self.wait_for_reply(self.kc.kernel_info())
            # What ran it, as JupyterLab writes it: else a notebook is changed by being opened.
            self.nb.metadata["kernelspec"] = dict(KERNELSPEC)
            self.nb.metadata["language_info"] = info["content"]["language_info"]
            self.papermill_execute_cells()
            self.set_widgets_metadata()
            self.ask_to_end()
        return self.nb

    def papermill_execute_cells(self) -> None:
        """Run every cell up to the first that fails."""
        code = [i for i, cell in enumerate(self.nb.cells) if _runs(cell)]
        for number, index in enumerate(code, 1):
            cell = self.nb.cells[index]
            self._reporter.start(number, len(code), cell.source)
            self.nb_man.cell_start(cell, index)
            ok = False
            try:
                self.execute_cell(cell, index)
                ok = True
            except CellExecutionError as error:
                self.nb_man.cell_exception(cell, cell_index=index, exception=error)
                break
            except DeadKernelError:
                self.nb_man.cell_exception(cell, cell_index=index)
                code_of_exit = self._returncode()
                raise KernelDied(number, len(code), obituary(code_of_exit), code_of_exit) from None
            finally:
                self.nb_man.cell_complete(cell, cell_index=index)
                self._reporter.end(number, len(code), ok=ok)

    async def _ask_to_end(self) -> None:
        """Ask the kernel to end and wait for it: jupyter_client only looks every 0.1 s."""
        try:
            async with death_of(self._manager.provisioner.pid) as gone:
                self.kc.shutdown()
                await asyncio.wait_for(gone.wait(), GOODBYE_SECONDS)
        except (OSError, TimeoutError):
            return  # jupyter_client ends it, then.

    ask_to_end = run_sync(_ask_to_end)

    def _returncode(self) -> int | None:
        process = getattr(self._manager.provisioner, "process", None)
        return None if process is None else process.poll()

    async def _async_poll_kernel_alive(self) -> None:
        # nbclient asks once a second; the process itself tells at once.
        try:
            async with death_of(self._manager.provisioner.pid) as gone:
                await gone.wait()
                await asyncio.sleep(LAST_WORDS_SECONDS)
        except OSError:  # Nothing to watch here: ask, as nbclient does.
            await super()._async_poll_kernel_alive()
            return
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()


def _runs(cell: Any) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


class NablaEngine(Engine):  # type: ignore[misc]  # untyped base
    """papermill's engine named ``nablahub``."""

    @classmethod
    def execute_notebook(
        cls, nb: Any, kernel_name: str, output_path: str | None = None, **options: Any
    ) -> Any:
        """Run the notebook, keeping its record at ``output_path``."""
        record = Record(nb, output_path=output_path, progress_bar=False)
        record.notebook_start()
        try:
            cls.execute_managed_notebook(record, kernel_name, **options)
        finally:
            record.notebook_complete()
        return record.nb

    @classmethod
    def execute_managed_notebook(cls, nb_man: Record, kernel_name: str, **options: Any) -> None:
        """Run the cells in a kernel of the job's environment."""
        client = Client(
            nb_man,
            options["reporter"],
            km=manager(options["launched"]),
            startup_timeout=options["start_timeout"],
            timeout=None,
            iopub_timeout=IOPUB_SECONDS,
            raise_on_iopub_timeout=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
        )
        client.execute(cleanup_kc=True)
