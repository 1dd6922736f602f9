# Pretrained weights, one checkpoint and its embeddings for every model of params.yaml.
#
# INPUTS   data/index/{split}.parquet, data/thumbnails/{split}.npy; params.yaml: train, models.{model}, embed
# OUTPUTS  data/weights/{model}.safetensors                 what its training starts from (no array, if from scratch)
#          results/models/{model}/model.safetensors         the selected checkpoint, with the parameters that built it
#          results/models/{model}/last.safetensors          the same, at the end of the training
#          results/training/{model}/summary.json            parameters, FLOPs, best epoch
#          results/training/{model}/curves/*.tsv     loss, learning rate and valid mAP of each epoch
#          results/embeddings/{model}/{split}.npy           float32 N x D, row i = index row i


rule weights:
    """Pretrained weights of one model, by name or from a file, as far as they fit."""
    input:
        code=engine.code("weights", "core", "params", "models", extended=True),
        file=lambda wildcards: PARAMS.models[wildcards.model].network.file() or [],
    output:
        "data/weights/{model}.safetensors",
    log:
        "logs/weights/{model}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        network=lambda wildcards: config["models"][wildcards.model]["network"],
        input=lambda wildcards: config["models"][wildcards.model]["input"],
    message:
        "{wildcards.model}: pretrained weights"
    shell:
        "python scripts/weights.py --model {wildcards.model} --out {output} --log {log}"


rule train:
    """Train one model on the training splits."""
    input:
        code=engine.code(
            "train",
            "core",
            "raw",
            "data",
            "params",
            "retrieval",
            "models",
            "training",
            extended=True,
        ),
        init=rules.weights.output,
        index=expand("data/index/{split}.parquet", split=PARAMS.train.splits),
        thumbnails=expand("data/thumbnails/{split}.npy", split=PARAMS.train.splits),
        validation=lambda wildcards: (
            ["data/index/valid.parquet", "data/thumbnails/valid.npy"]
            if PARAMS.validated(wildcards.model)
            else []
        ),
    output:
        checkpoint="results/models/{model}/model.safetensors",
        last="results/models/{model}/last.safetensors",
        summary="results/training/{model}/summary.json",
        loss="results/training/{model}/curves/loss.tsv",
        learning_rate="results/training/{model}/curves/learning_rate.tsv",
        valid="results/training/{model}/curves/valid_mAP.tsv",
    log:
        "logs/train/{model}.log",
    conda:
        "../../envs/environment.yaml"
    threads: max(1, CORES // GPUS)
    resources:
        gpu=1,
    params:
        section=lambda wildcards: config["models"][wildcards.model],
        splits=config["train"],
    message:
        "{wildcards.model}: train"
    shell:
        "python scripts/train.py --model {wildcards.model} --index {input.index} --thumbnails {input.thumbnails}"
        " $(test -z '{input.validation}' || echo --validation {input.validation}) --init {input.init}"
        " --out {output.checkpoint} --last {output.last} --summary {output.summary}"
        " --curves results/training/{wildcards.model}/curves --speed results/speed/{wildcards.model} --log {log}"


rule embed:
    """Embed one split with one model."""
    input:
        code=engine.code(
            "embed",
            "core",
            "raw",
            "data",
            "params",
            "retrieval",
            "models",
            extended=True,
        ),
        checkpoint=rules.train.output.checkpoint,
        thumbnails=rules.thumbnails.output,
    output:
        "results/embeddings/{model}/{split}.npy",
    log:
        "logs/embed/{model}/{split}.log",
    conda:
        "../../envs/environment.yaml"
    threads: max(1, CORES // GPUS)
    resources:
        gpu=1,
    params:
        section=config["embed"],
    message:
        "{wildcards.model}: embed {wildcards.split}"
    shell:
        "python scripts/embed.py --checkpoint {input.checkpoint} --thumbnails {input.thumbnails}"
        " --out {output} --log {log}"


rule external:
    """Embeddings of a model that was made elsewhere, checked and in the order of the index."""
    input:
        code=engine.code("external", "core", "raw", "data", "retrieval"),
        index=rules.index.output,
        file=lambda wildcards: engine.external_file(
            PARAMS, wildcards.model, wildcards.split
        ),
    output:
        "results/embeddings/{model}/{split}.npy",
    log:
        "logs/external/{model}/{split}.log",
    wildcard_constraints:
        split=engine.names(RANKED),
        model=engine.names(PARAMS.external_models),
    conda:
        "../../envs/environment.yaml"
    params:
        section=lambda wildcards: config["external_models"][wildcards.model],
    message:
        "{wildcards.model}: embeddings of {wildcards.split}, made elsewhere"
    shell:
        "python scripts/external.py --index {input.index} --folder {params.section[folder]:q} --out {output} --log {log}"
