"""`lth grid`: one study over the cores, GPUs and machines that its user has.

    a study file, or a preset
      -> studies.py      models x tasks x ladders x seeds, validated
      -> plan.py         the jobs that are left to do, written to plan.json
      -> controller.py   Snakemake on the Snakefile of this folder, with a profile
      -> job.py          one job: some levels of one run, into the store

Snakemake only says which job goes where and when. What is done, and what a killed job had done, is
read from the store: so a job can die, or its controller, and nothing is lost or computed twice.
Snakemake comes with the extra `lthlib[grid]`, and nothing outside this folder imports it.
"""

from lthlib.workflow.grid.command import add_command

__all__ = ["add_command"]
