"""The record of what a job in a cluster's queue made, and with what parameters and code.

Snakemake leaves it to the controller, which writes it once it sees that the job has ended. A controller that was
killed sees nothing: the outputs would stand without a record, or with that of an older run, and be made again. Here a
job writes the record itself; a controller that lives writes it once more.
"""

import copy
from types import SimpleNamespace
from typing import Any

from snakemake.persistence import PersistenceBase
from snakemake_interface_executor_plugins.settings import ExecMode

_SETTINGS = ("execution_settings", "remote_execution_settings", "dag_settings", "deployment_settings")


def write_in_jobs(workflow: Any) -> None:
    """In a process that runs a job for a controller elsewhere: let it record what it made."""
    if not workflow.remote_exec:
        return
    plain = PersistenceBase.finished

    async def finished(self: Any, job: Any) -> None:
        settings = {name: getattr(workflow, name) for name in _SETTINGS}
        as_controller = copy.copy(self)
        as_controller.dag = SimpleNamespace(workflow=SimpleNamespace(exec_mode=ExecMode.DEFAULT, **settings))
        await plain(as_controller, job)

    PersistenceBase.finished = finished
