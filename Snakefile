"""SoccerNet player re-identification: from the raw zips to the submission.

snakemake --cores 8 submission      the ranking JSON of test and challenge, and the metrics of valid and test
"""

import sys

sys.path[:0] = [
    str(Path(workflow.basedir) / "scripts"),
    str(Path(workflow.basedir) / "workflow"),
]

import engine

PARAMS = engine.params(workflow)


configfile: "params.yaml"


report: "workflow/report/workflow.rst"


CORES = workflow.cores  # a job that takes them all has the machine to itself
GPUS = engine.gpus(workflow)
MODELS = list(PARAMS.models)


wildcard_constraints:
    split="train|valid|test|challenge",
    model="|".join(MODELS),


include: "workflow/rules/data.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/ranking.smk"
include: "workflow/rules/pages.smk"


rule submission:
    """The job of the pipeline: rankings to submit, the scores that they travel with, and what there is to look at."""
    default_target: True
    input:
        expand("results/submission/{split}.json", split=["test", "challenge"]),
        expand("results/metrics/{split}.json", split=["valid", "test"]),
        expand("results/browse/{split}.html", split=["valid", "test", "challenge"]),
        expand("results/figures/{split}.svg", split=["valid", "test"]),
        expand("results/figures/{model}-training.svg", model=MODELS),
        rules.describe.output.json,


onstart:
    engine.claim()
    engine.forget_other_models(MODELS)
