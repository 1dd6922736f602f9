"""SoccerNet player re-identification: from the raw zips to the submission.

snakemake --cores 8 submission      the ranking JSON of test and challenge, and the metrics of valid and test
"""

from reid.core.splits import RANKED, SCORED, SPLITS, SUBMITTED
from reid.engines import outside, terminal
from reid.engines import workflow as engine

terminal.prepare(workflow)
PARAMS = engine.params(workflow)


configfile: "params.yaml"


engine.read_as_we_do(config)


report: "workflow/report/workflow.rst"


container: "soccernet-reid.sif"  # with --sdm apptainer alone; docs/team.md says how to build it


wildcard_constraints:
    split=engine.names(SPLITS),
    model=engine.names(PARAMS.models),


include: "workflow/rules/data.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/ranking.smk"
include: "workflow/rules/pages.smk"


rule submission:
    """The job of the pipeline: rankings to submit, the scores that they travel with, and what there is to look at."""
    default_target: True
    input:
        expand("results/submission/{split}.json", split=SUBMITTED),
        expand("results/submission/{split}.provenance.json", split=SUBMITTED),
        expand("results/metrics/{split}.json", split=SCORED),
        expand("results/browse/{split}.html", split=RANKED),
        expand("results/figures/{split}.svg", split=SCORED),
        expand("results/figures/{model}-training.svg", model=PARAMS.models),
        rules.describe.output.json,
    message:
        "all that travels with the submission"


engine.mend_dates(workflow)


onstart:
    engine.begin(workflow, PARAMS)


onsuccess:
    terminal.succeeded(workflow, PARAMS)


onerror:
    terminal.failed(log)
