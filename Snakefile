"""SoccerNet player re-identification: from the raw zips to the submission.

snakemake --cores 8 submission      the ranking JSON of test and challenge, and the metrics of valid and test
"""

from reid.core.splits import RANKED, SCORED, SPLITS, SUBMITTED
from reid.engines import outside
from reid.engines import workflow as engine

PARAMS = engine.params(workflow)


configfile: "params.yaml"


report: "workflow/report/workflow.rst"


CORES = workflow.cores  # a job that takes them all has the machine to itself
GPUS = engine.gpus(workflow)


wildcard_constraints:
    split="|".join(SPLITS),
    model=engine.names(PARAMS.models),


include: "workflow/rules/data.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/ranking.smk"
include: "workflow/rules/pages.smk"


rule submission:
    """The job of the pipeline: rankings to submit, the scores that they travel with, and what there is to look at."""
    default_target: True
    input:
        expand(rules.rank.output, split=SUBMITTED),
        expand(rules.provenance.output, split=SUBMITTED),
        expand(rules.evaluate.output.metrics, split=SCORED),
        expand(rules.browse.output.page, split=RANKED),
        expand(rules.figures.output.scores, split=SCORED),
        expand(rules.curves.output, model=PARAMS.models),
        rules.describe.output.json,


engine.mend_dates(workflow)


onstart:
    engine.begin(workflow, PARAMS)
